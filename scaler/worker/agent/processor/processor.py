"""Where this code runs: inside a task or not, under the name that libraries written for OpenGRIS Scaler use."""

from __future__ import annotations

from scaler.worker import executor


class Processor:
    """The executor that runs the present task."""

    @staticmethod
    def get_current_processor() -> executor.Executor | None:
        """The executor that this process is; None outside of tasks."""
        return executor.current
