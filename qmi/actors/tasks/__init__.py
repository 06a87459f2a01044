"""Tasks: their runner, their executors, restarts, the schedule of loop tasks."""
