"""Where the log goes and how it looks: standard error, JSON lines for the journal, readable text for people."""

from __future__ import annotations

import logging
import os
import sys
import threading

import structlog
from structlog.typing import Processor


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send all logs to stderr: ours, and those of libraries that use the standard library's logging."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    rendered: list[Processor]
    if "JOURNAL_STREAM" in os.environ:  # set by systemd where stderr is the journal
        rendered = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        rendered = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered]
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("uvicorn", "websockets", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    threading.excepthook = _log_thread_end


def _log_thread_end(args: threading.ExceptHookArgs) -> None:
    """An exception that ended a thread is never lost."""
    name = args.thread.name if args.thread else "?"
    error = args.exc_value or args.exc_type()
    structlog.get_logger(__name__).critical("a thread ended by an exception", thread=name, exc_info=error)
