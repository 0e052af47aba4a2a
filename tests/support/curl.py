"""A stand-in for curl where there is none: sends the one request that ``--as-curl`` prints, and prints the answer."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

SECONDS_MAX = 30


def main(words: list[str]) -> None:
    """Send the request; words that are not known are an error, as they are to curl."""
    method, address, headers, data = None, "", {}, None
    given = iter(words)
    for word in given:
        match word:
            case "-sS" | "-g":
                pass
            case "-X":
                method = next(given)
            case "-H":
                name, _, value = next(given).partition(": ")
                headers[name] = value
            case "-d":
                data = next(given).encode()
            case _ if not address and not word.startswith("-"):
                address = word
            case _:
                raise SystemExit(f"curl: {word} is not known here")
    request = urllib.request.Request(address, data, headers, method=method)  # noqa: S310 -- the test's own server
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:  # noqa: S310
            sys.stdout.buffer.write(answer.read())
    except urllib.error.HTTPError as refused:
        sys.stdout.buffer.write(refused.read())


if __name__ == "__main__":
    main(sys.argv[1:])
