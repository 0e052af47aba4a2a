"""What a rule or a person must allow: policy, approvals, authority, tasks, exception cases.

Pure: it makes the drafts by which people are asked, told and given work, and says who may
answer. The stages above call it; sending and resolving people is done by connectors.
"""
