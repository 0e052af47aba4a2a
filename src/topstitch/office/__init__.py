"""What every door does alike: an instance looked at, a command judged and recorded, many at once, cases, publishing.

Command line, console and API call the same functions here, so that a rule holds whichever door a
person came through. Whether somebody may do it is asked at the door; what it leads to, the stages
decide. It sends nothing to any system.
"""
