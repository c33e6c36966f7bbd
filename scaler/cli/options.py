"""Options that several commands have, and what is asked of addresses."""

from __future__ import annotations

from argparse import Namespace

from scaler.config import (
    COMPATIBILITY,
    Option,
    address,
    boolean,
    capabilities,
    function_pattern,
    grouped,
    http_address,
    integer,
    interval,
    memory_limit,
    natural,
    preload,
    seconds,
    size,
)
from scaler.errors import ConfigurationError
from scaler.ids import Address
from scaler.keyring import is_loopback
from scaler.logs import FORMATS, LEVELS
from scaler.security import OPTIONS as SECURITY_OPTIONS
from scaler.security import SecurityConfig

MONITORING = "monitoring and logging"
SECURED = "security"
EVENT_LOOP = Option(
    "event_loop",
    "what runs the connections: uvloop, or asyncio of Python (builtin)",
    "uvloop",
    short="-el",
    choices=("uvloop", "builtin"),
)
LOGGING = grouped(
    MONITORING,
    Option(
        "logging_level",
        "log this and what is worse",
        "INFO",
        str.upper,
        short="-ll",
        choices=LEVELS,
    ),
    Option("logging_paths", "files to log to", ("/dev/stdout",), short="-lp", many=True, value="FILE"),
    Option(
        "logging_config_file",
        "a file for Python's logging.config.fileConfig, instead of level, paths and format; the logger is called scaler",
        short="-lcf",
    ),
    Option(
        "logging_format",
        "lines for people (text), or a JSON object a line (json)",
        "text",
        short="-lf",
        choices=FORMATS,
    ),
)
METRICS = Option(
    "metrics_address",
    "serve /metrics for Prometheus and /healthz here, as host:port or a port of 127.0.0.1; port 0: any free one."
    " Needs the extra metrics",
    kind=http_address,
    short="-mea",
    group=MONITORING,
)
INSECURE = Option(
    "insecure",
    "listen without a secret on addresses that other machines can reach, though whoever reaches them can run code here,"
    " or read metrics",
    False,
    boolean,
    group=SECURED,
)
SECURITY = grouped(
    SECURED,
    Option(
        "secret_file",
        "the file with the secret that all of a cluster have; `scaler make-secret FILE` makes one",
        short="-sf",
    ),
    Option(
        "tls_certificate",
        "the certificate (PEM) by which others know this process; who listens at tls:// needs one."
        " `scaler make-certificate DIRECTORY` makes some for small sites",
        short="-tc",
        value="FILE",
    ),
    Option(
        "tls_key", "the private key (PEM) of --tls-certificate, readable by its owner alone", short="-tk", value="FILE"
    ),
    Option(
        "tls_ca",
        "the certificates (PEM) of those who sign the certificates that are trusted; those of the system without it",
        short="-tca",
        value="FILE",
    ),
    Option(
        "tls_require_client_certificate",
        "let only those in that have a certificate signed by one of --tls-ca",
        None,
        boolean,
    ),
    Option(
        "tls_server_name",
        "the name that certificates of those this process connects to are to have; the host of their address without it",
    ),
)
SPILLING = grouped(
    "memory",
    Option(
        "memory_limit_bytes",
        "keep so much of objects in memory, as bytes or 512M, 2G, and spill the others to disk, least recently used first;"
        " 0: no limit; half of the memory that this process may use without it",
        kind=size,
        short="-ml",
    ),
    Option(
        "spill_directory",
        "where objects are spilled to; TMPDIR or /var/tmp without it. Nothing is left there, however this ends",
        short="-sd",
    ),
    Option(
        "spill_url",
        "spill to s3://bucket/prefix instead, which has to be this server's alone; needs the extra s3."
        " Credentials and endpoint as boto3 finds them",
        short="-su",
    ),
    Option(
        "durable",
        "answer a put when the object is in S3, and find all objects there again after a restart",
        False,
        boolean,
    ),
)
WORKERS = (
    *grouped(
        "workers",
        Option(
            "worker_scheduler_address",
            "the scheduler's address as the workers reach it, if it is another than the one given above",
            kind=address,
            short="-wsa",
        ),
        Option(
            "object_storage_address",
            "an object storage of this host, started with --center: results stay there until somebody needs them elsewhere",
            kind=address,
            short="-osa",
        ),
        Option(
            "worker_manager_id",
            "what monitors call the origin of the workers; host and process without it",
            short="-wmi",
        ),
        Option(
            "per_worker_capabilities",
            "what tasks may ask for and find here: linux,gpu=2 (numbers are not counted)",
            (),
            capabilities,
            short="-pwc",
        ),
        Option(
            "per_worker_task_queue_size", "how many tasks may wait here for each slot", 1000, natural, short="-wtqs"
        ),
        Option(
            "heartbeat_interval_seconds",
            "how often the scheduler is told that all is well",
            2.0,
            interval,
            short="-his",
        ),
        Option(
            "death_timeout_seconds", "end when there has been no scheduler for so long", 300.0, interval, short="-dts"
        ),
    ),
    *grouped(
        "executors, which run the tasks",
        Option(
            "preload",
            "what each executor calls before its first task: package.module:function, or package.module:function('text', n=1)",
            "",
            preload,
        ),
        Option(
            "allow_functions",
            "run only functions called by name that match one of these patterns (math:sqrt, 'mypackage.*'), and no pickles",
            (),
            function_pattern,
            many=True,
        ),
        Option(
            "task_timeout_seconds",
            "stop tasks that run longer, their caller gets an error; a task's own limit goes before; 0: never",
            0.0,
            seconds,
            short="-tts",
        ),
        Option(
            "memory_limit_bytes",
            "stop tasks that take their executor's memory above this (bytes, 512M, 2G); their caller gets an error; 0: no limit",
            0,
            memory_limit,
            short="-mlb",
        ),
        Option(
            "garbage_collect_interval_seconds",
            "executors with nothing to do collect garbage this often; 0: when Python does",
            30.0,
            seconds,
            short="-gc",
        ),
        Option(
            "trim_memory_threshold_bytes",
            "an executor that has more memory after a task collects garbage and gives free memory back; 0: never",
            1 << 30,
            size,
            short="-tm",
        ),
    ),
    *SECURITY,
    *grouped(
        MONITORING,
        Option(
            "worker_metrics_address",
            "where each worker serves its own /metrics and /healthz; port 0 where a host has several workers",
            kind=http_address,
            short="-wmea",
        ),
    ),
    *grouped(
        COMPATIBILITY,
        Option(
            "worker_io_threads", "accepted for compatibility; one thread is not short here", 1, integer, short="-wit"
        ),
        Option(
            "hard_processor_suspend",
            "accepted for compatibility; executors are never suspended",
            False,
            boolean,
            short="-hps",
        ),
    ),
)


def check_bind(name: str, where: Address | None, options: Namespace) -> None:
    """Raises ConfigurationError for an address that others can reach, unless there is a secret, mutual TLS, or it is wanted all
    the same; and for one with TLS without a certificate."""
    if where is None:
        return
    if where.tls and not options.tls_certificate:
        raise ConfigurationError(
            f"{name}: to listen on {where} takes a certificate and its key: --tls-certificate and --tls-key"
            " (scaler make-certificate DIRECTORY makes them for small sites)"
        )
    mutual = where.tls and options.tls_require_client_certificate
    if not (options.insecure or options.secret_file or mutual or is_loopback(where)):
        raise ConfigurationError(
            f"{name}: other machines can reach {where}, and whoever reaches it can run code here;"
            " name a secret with --secret-file (scaler make-secret FILE makes one), listen on 127.0.0.1, ask for certificates"
            " (tls:// and --tls-require-client-certificate), or say --insecure if you trust the network"
        )


def check_metrics(options: Namespace) -> None:
    """Raises ConfigurationError for an address of metrics that others can reach where there is no secret to ask them for."""
    for name in ("metrics_address", "worker_metrics_address"):
        where = getattr(options, name, None)
        if where is not None and not (options.insecure or options.secret_file or is_loopback(where)):
            raise ConfigurationError(
                f"--{name.replace('_', '-')}: other machines can reach {where}, and whoever reaches it can read what runs here;"
                " name a secret with --secret-file, which is asked for then, serve on 127.0.0.1, or say --insecure"
            )


def security_of(options: Namespace) -> SecurityConfig:
    """What a command was told of security."""
    return SecurityConfig(**{name: getattr(options, name, None) for name in SECURITY_OPTIONS})
