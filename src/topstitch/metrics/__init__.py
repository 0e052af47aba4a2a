"""The metrics room: what the seams between systems cost, and who is told when they cost too much.

``seams``, ``pending`` and ``exceptions`` hold the three metrics; ``baselines`` what is usual;
``alerts`` what is alarming; ``watch`` gathers, decides and writes; ``sla`` and ``time_split``
are about whole instances; ``rollups`` and ``sketch`` about the past; ``export``, ``spans`` and
``otlp`` about other people's dashboards. It measures and never carries anything out.
"""
