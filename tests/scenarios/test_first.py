"""Scratch."""
from support.world import World

async def test_standard(world: World):
    name = await world.hire(jobProfile="ENG-SWE")
    await world.run_to_end(name)
    print(await world.row(name))
    for r in await world.records(name):
        print(r.at, r.kind, r.step, {k:v for k,v in r.body.items() if k in ("next","result","problem","verdict","ending","end")})
    print(await world.statuses(name))
    for m in world.mails(): print({k:m[k] for k in m if k!='raw'})
