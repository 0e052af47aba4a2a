"""Believable fake systems: Workday, Entra ID, ServiceNow, Salesforce, Slack, and a mail server.

Each speaks its vendor's own URL shapes, token endpoints, error bodies and limits, so a
connector that works here needs only another ``base_url`` and other credentials there. The
demo, the drill, ``topstitch simulators`` and the tests start them through ``host``. They
know nothing of the product: the only room they use is ``foundation``.
"""
