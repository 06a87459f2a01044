"""One file per row of the table. ``ORDER`` is the order of the rows."""

ORDER = (
    "call_thread",
    "call_caller",
    "call_async",
    "call_remote",
    "flight_local",
    "flight_remote",
    "flight_tasks",
    "array_rate",
    "array_memory",
    "values",
    "signals_local",
    "signals_link",
    "fan_out",
    "site_fan_out",
    "site_last",
    "site_crowd",
    "site_replay",
    "site_frozen",
    "loop_lateness",
    "loop_rate",
    "loop_overrun",
    "making",
    "idle_memory",
    "importing",
    "crowd",
    "scpi_query",
    "scpi_async",
    "scpi_block",
    "scpi_polling",
    "programs",
    "rows_floats",
    "rows_arrays",
    "rows_many",
    "follow_link",
    "follow_loop",
)
"""What ``make bench`` measures."""

WEB = ("web_pushes", "web_paint", "web_loop", "web_plots")
"""What ``make bench-web`` measures: the pages."""
