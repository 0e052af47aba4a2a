// The console's own script: time zone, live updates that can be paused, keys, the palette, copying, charts.
// Every page works without it. It writes text and attributes only, never markup.
(() => {
  "use strict";
  const root = document.documentElement;
  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
  const cookie = (name) => document.cookie.split("; ").find((c) => c.startsWith(name + "="))?.slice(name.length + 1);
  const keep = (name, value) => { document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`; };

  // The viewer's own zone, once; afterwards Settings decide.
  if (cookie("topstitch_tz") === undefined) {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (zone) {
      keep("topstitch_tz", zone);
      if (zone !== root.dataset.zone && !new URLSearchParams(location.search).has("tz")) location.reload();
    }
  }

  // Live: a stream says what changed. An instance's page renews itself; a list says how much is new and waits.
  const live = $("#live");
  const state = (value) => { root.dataset.liveState = value; const word = $("#live-word"); if (word) word.textContent = { on: "Live", paused: "Paused", lost: "Connecting" }[value]; };
  let missed = 0;
  let told = 0;
  const paused = () => sessionStorage.getItem("topstitch-paused") === "1";
  const hold = (count) => {
    const button = $(".held");
    if (!button) return;
    button.dataset.count = count;
    $("b", button).textContent = count;
  };
  if (live) {
    let connected = false;
    const show = () => state(paused() ? "paused" : connected ? "on" : "lost");
    const connect = (is) => { connected = is; show(); };
    const later = (what) => setTimeout(() => live.dispatchEvent(new CustomEvent(what)), 1000 + 2000 * Math.random());
    show();
    live.addEventListener("htmx:sse:after:connection", () => connect(true));
    live.addEventListener("htmx:sse:error", () => connect(false));
    // A stream that breaks off is taken up again by its extension; one that never came, and a page that was not renewed, by us.
    for (const failed of ["htmx:error", "htmx:response:error"]) document.addEventListener(failed, ({ target, detail }) => {
      if (detail?.ctx?.response?.status < 500) return; // no longer signed in, or no longer allowed
      if (target === live && !live._htmx?.sse) { connect(false); later("look"); }
      if (target === $("#main")) later("renew");
    });
    live.addEventListener("changed", (event) => {
      missed += 1;
      if (paused() || live.dataset.mode === "hold") { hold(missed); event.stopImmediatePropagation(); return; }
      live.dispatchEvent(new CustomEvent("renew"));
    }, true);
    document.addEventListener("htmx:after:swap", () => {
      missed = 0;
      const now = performance.now();
      const sentence = $("#main")?.dataset.state;
      if (sentence && sentence !== $("#say").textContent && now - told > 5000) { told = now; $("#say").textContent = sentence; }
      charts();
    });
    $("#live-switch")?.addEventListener("click", () => {
      sessionStorage.setItem("topstitch-paused", paused() ? "0" : "1");
      show();
      $("#live-switch").setAttribute("aria-pressed", String(!paused()));
      if (!paused() && missed) live.dispatchEvent(new CustomEvent("renew"));
    });
  }

  // Copying.
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const text = button.dataset.copy === "link" ? location.href : button.dataset.copy;
    navigator.clipboard?.writeText(text).then(() => { $("#say").textContent = "Copied"; button.dataset.done = "1"; });
  });

  // Keys: one letter at a time, never while typing, and only while they are switched on.
  const typing = (element) => /^(INPUT|TEXTAREA|SELECT)$/.test(element?.tagName ?? "") || element?.isContentEditable;
  const places = { o: "/", i: "/instances", a: "/approvals", e: "/exceptions", d: "/discrepancies", w: "/workflows", c: "/connectors", p: "/policies", u: "/audit", s: "/settings" };
  let prefix = false;
  const rows = () => $$("tr[data-href]");
  const move = (by) => {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.getAttribute("aria-selected") === "true");
    const next = all[Math.min(all.length - 1, Math.max(0, at + by))];
    all.forEach((row) => row.removeAttribute("aria-selected"));
    next.setAttribute("aria-selected", "true");
    $("a", next)?.focus();
  };
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "k") { event.preventDefault(); open(); return; }
    if (root.dataset.keys !== "on" || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (prefix) { prefix = false; if (places[event.key]) { event.preventDefault(); location.assign(places[event.key]); } return; }
    switch (event.key) {
      case "g": prefix = true; setTimeout(() => { prefix = false; }, 1500); break;
      case "/": event.preventDefault(); $("#search")?.focus(); break;
      case "j": move(1); break;
      case "k": move(-1); break;
      case "x": { const box = $("tr[aria-selected=true] .pick input"); if (box) { box.checked = !box.checked; counted(); } break; }
      case "[": $("a[rel=prev]")?.click(); break;
      case "]": $("a[rel=next]")?.click(); break;
      case "t": { const url = new URL(location.href); url.searchParams.get("tz") === "UTC" ? url.searchParams.delete("tz") : url.searchParams.set("tz", "UTC"); location.assign(url); break; }
      case "?": location.assign("/help"); break;
      default:
    }
  });

  // Rows that are chosen for a command on many: their number, said where the command is.
  const counted = () => {
    const said = $("#chosen-count");
    if (!said) return;
    const chosen = $$(".pick input:checked").length;
    const all = $("#bulk input[name=all]");
    if (chosen || all?.checked) said.dataset.count = chosen; else delete said.dataset.count;
    said.dataset.words ??= said.textContent;
    said.textContent = all?.checked ? "All that match, frozen when you preview." : chosen ? `${chosen} chosen` : said.dataset.words;
  };
  document.addEventListener("change", (event) => { if (event.target.closest?.("#bulk")) counted(); });
  counted();

  // On a narrow screen the rail is one row: where one is must be in sight.
  $(".rail a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // Palette.
  const palette = $("#palette");
  const open = () => { if (!palette?.showModal) return; palette.showModal(); $("input", palette).value = ""; filter(); };
  const filter = () => {
    const wanted = $("input", palette).value.toLowerCase();
    $$("li", palette).forEach((item) => { item.hidden = !item.dataset.search && !item.textContent.toLowerCase().includes(wanted); });
    const search = $("li[data-search] a", palette);
    search.href = "/instances?q=" + encodeURIComponent(wanted);
    $("b", search).textContent = wanted || "everything";
  };
  $("#palette-open")?.addEventListener("click", open);
  palette && $("input", palette).addEventListener("input", filter);
  palette && $("input", palette).addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); $$("li:not([hidden]) a", palette)[0]?.click(); }
    if (event.key === "ArrowDown") { event.preventDefault(); $$("li:not([hidden]) a", palette)[0]?.focus(); }
  });

  // Charts: numbers come from the page's JSON twin, colours from the style sheet.
  const resolved = (name) => { const probe = document.createElement("i"); probe.className = "t-" + name; document.body.append(probe); const value = getComputedStyle(probe).color; probe.remove(); return value; };
  const charts = async () => {
    for (const box of $$(".chart[data-source]")) {
      if (box.childElementCount || !window.uPlot) continue;
      const data = await (await fetch(box.dataset.source)).json();
      const seconds = data.p95_ms.map((v) => (v === null ? null : v / 1000));
      const flat = (value) => data.times.map(() => value / 1000);
      const tone = resolved(box.dataset.tone), grey = resolved("idle");
      const clock = new Intl.DateTimeFormat("en-GB", { timeZone: root.dataset.zone, hour: "2-digit", minute: "2-digit", ...(data.times.at(-1) - data.times[0] > 90000 ? { day: "numeric", month: "short" } : {}) });
      const axis = { stroke: grey, grid: { stroke: grey, width: 0.2 }, ticks: { show: false }, font: "12px Geist" };
      const high = Math.max(...seconds.map((v) => v ?? 0));
      const round = (value) => Math.round(value * 1000) / 1000;
      const label = (value) => (high > 7200 ? round(value / 3600) + " h" : high > 60 ? round(value / 60) + " m" : round(value) + " s");
      new window.uPlot({ tzDate: (at) => window.uPlot.tzDate(new Date(at * 1000), root.dataset.zone), width: box.clientWidth, height: 220, legend: { show: false }, cursor: { y: false },
        series: [{}, { label: "p95", stroke: tone, width: 2, spanGaps: true, points: { show: true, size: 5, fill: tone } }, { label: "limit", stroke: grey, dash: [4, 5], width: 1.5, points: { show: false } }],
        axes: [{ ...axis, space: 70, size: 32, values: (_, splits) => splits.map((at) => clock.format(new Date(at * 1000))) }, { ...axis, size: 56, space: 36, incrs: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400], values: (_, splits) => splits.map(label) }] }, [data.times, seconds, flat(high > 60 ? data.limit_ms : data.target_ms)], box);
    }
  };
  charts();
})();
