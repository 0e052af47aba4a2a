"""Scratch."""
from support.world import World
import json
async def test_all(world: World):
    import time
    t=time.perf_counter()
    a = await world.hire(jobProfile="SEC-ADMIN")
    print(await world.run_until_asked(a))
    await world.answer(a, "jonas.weber@corp.example", comment="fine")
    b = await world.hire(jobProfile="SAL-AE")
    print((await world.run_until_asked(b))["people"])
    await world.answer(b, "ruth.abend@corp.example")
    w = world.hired(jobProfile="ENG-SWE", workerId="W-200005")
    world.fault("servicenow","503", match={"method":"POST","path":"order_now|cart|submit", "body":""})
    c = (await world.deliver(w)).instances[0]
    task = await world.run_until_task(c)
    print(task)
    for k in ("a","b","c"):
        print(k, await world.statuses(locals()[k]))
    for call in world.calls("servicenow", method="POST"): print(call)
    await world.run_for(hours=2)
    for m in world.mails(): print({k:m[k] for k in m if k!='raw'})
    for s in ("entra-id","servicenow","salesforce","slack"):
        st = world.sims[s].records
        print(s, {k: len(st.all(k)) for k in st.kinds()})
    print(world.everything("entra-id","users")[-1])
    print(world.everything("servicenow","sc_request")[-1])
    print(world.everything("servicenow","sc_req_item")[-1])
    for k in ("UserTerritory2Association","ForecastingQuota","AccountTeamMember"):
        print(world.everything("salesforce",k)[-1:])
    print({k: world.everything("slack",k)[-1:] for k in world.sims["slack"].records.kinds()})
    print(time.perf_counter()-t)
