"""The controller: keeps the lab's state, schedules jobs, runs studies, answers everyone."""
