"""Settings of OpsDesk. Everything an operator may change comes from the environment.

The README's configuration table lists the variables; `opsdesk.checks` reports
wrong values. Nothing here imports a model, a database driver or torch.
"""

from pathlib import Path
from typing import Any

from django.utils.translation import gettext_lazy as _

from opsdesk import postgres
from opsdesk.env import Environment
from opsdesk.rooms import *  # noqa: F403 - rooms that apps fill
from opsdesk.secret import secret_key

env = Environment()
BASE_DIR = Path(__file__).resolve().parent.parent
# Database, files, secret key and logs of an installation, when nothing else is configured.
HOME = Path(env.text("OPSDESK_HOME", str(BASE_DIR / "var"))).resolve()

DEBUG = env.flag("OPSDESK_DEBUG", False)
SECRET_KEY = env.text("OPSDESK_SECRET_KEY") or secret_key(HOME)
HOST = env.text("OPSDESK_HOST", "127.0.0.1")
PORT = env.integer("OPSDESK_PORT", 8000, 1, 65535)
ALLOWED_HOSTS = env.words("OPSDESK_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("OPSDESK_TRUSTED_ORIGINS")
HTTPS = env.flag("OPSDESK_HTTPS", False)  # a proxy in front of us speaks https

INSTALLED_APPS = [
    "opsdesk.apps.OpsDeskConfig",
    "opsdesk.apps.OpsDeskAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "knowledge",
    "chat",
    "handoff",
    "evaluation",
]

MIDDLEWARE = [
    "opsdesk.logs.request_context",
    "opsdesk.security.security_headers",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "opsdesk.urls"
ASGI_APPLICATION = "opsdesk.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Database -----------------------------------------------------------------
# ROLE decides how connections are kept: the web process borrows them from a pool,
# workers keep one each, commands open and close theirs, offline commands have none.
ROLE = env.choice("OPSDESK_ROLE", "command", ("command", "web", "worker", "offline"))
DATABASE_URL = env.text("DATABASE_URL")  # empty: the embedded server
WEB_PROCESSES = env.integer("OPSDESK_WEB_PROCESSES", 1, 1, 64)
WEB_CONNECTIONS = env.integer("OPSDESK_WEB_CONNECTIONS", 16, 2, 500)  # of each
_server: dict[str, Any] = (
    {"ENGINE": "django.db.backends.postgresql", **env.database("DATABASE_URL")}
    if DATABASE_URL
    else {
        "ENGINE": "opsdesk.database",
        "NAME": postgres.DATABASE,
        "USER": postgres.USER,
        "HOST": str(postgres.socket_folder(HOME)),
        "OPTIONS": {},
    }
)
if ROLE == "web":
    _pool = {"min_size": 2, "max_size": WEB_CONNECTIONS, "timeout": 10}
    _server["OPTIONS"] = {**_server.get("OPTIONS", {}), "pool": _pool}
_server |= {"CONN_MAX_AGE": 60 if ROLE == "worker" else 0, "CONN_HEALTH_CHECKS": True}
DATABASES = {} if ROLE == "offline" else {"default": _server}
# Standbys that are asked when something is searched, unless they are so many seconds behind.
REPLICA_LAG = env.number("DATABASE_REPLICA_LAG", 5.0, 0.0, 3600.0)
for _number, _replica in enumerate(env.databases("DATABASE_REPLICA_URL") if DATABASES else (), 1):
    # One that is gone must not keep who asks waiting: milliseconds until what was sent is lost.
    _limits = {"connect_timeout": 2, "tcp_user_timeout": 5000}
    _replica["OPTIONS"] = _limits | _replica["OPTIONS"]
    if ROLE == "web":
        _replica["OPTIONS"]["pool"] = {"min_size": 1, "max_size": WEB_CONNECTIONS, "timeout": 2}
    DATABASES[f"replica{_number}"] = {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": _server["CONN_MAX_AGE"],
        "CONN_HEALTH_CHECKS": True,
        "TEST": {"MIRROR": "default"},
        **_replica,
    }
DATABASE_ROUTERS = ["opsdesk.replicas.Router"]
# Where LISTEN connects when DATABASE_URL points to a transaction pooler.
DATABASE_DIRECT = env.database("DATABASE_DIRECT_URL")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Tasks --------------------------------------------------------------------
# retry > timeout > longest task, else django-q2 runs a task twice at once.
PARSE_SECONDS = env.integer("OPSDESK_PARSE_SECONDS", 240, 10, 3000)
Q_CLUSTER: dict[str, Any] = {
    "name": "opsdesk",
    "orm": "default",
    "workers": env.integer("OPSDESK_WORKERS", 2, 1, 64),
    "timeout": PARSE_SECONDS + 60,
    "retry": PARSE_SECONDS + 120,
    "max_attempts": 3,
    "ack_failures": False,
    "bulk": 1,
    "poll": 0.2,
    "recycle": 500,
    "catch_up": False,
    # Nobody reads what became of a task that succeeded; to prune them all are locked each time.
    "save_limit": -1,
    "label": _("Task queue"),
    # Short work must not wait behind parsing.
    "ALT_CLUSTERS": {"short": {"workers": 2, "timeout": 60, "retry": 120, "max_attempts": 5}},
}

# --- Realtime -----------------------------------------------------------------
CHANNEL_LAYERS = {"default": {"BACKEND": "opsdesk.realtime.PostgresLayer"}}

# --- Named backends: made once a process by opsdesk.backends -------------------
EMBEDDER = env.choice("OPSDESK_EMBEDDER", "", ("", "bge-m3", "openai"))
MODEL_CACHE = env.text("OPSDESK_MODEL_DIR")  # a local folder with bge-m3's weights
OPENAI_BASE_URL = env.url("OPENAI_BASE_URL")
OPENAI_API_KEY = env.text("OPENAI_API_KEY", "none")
OPENAI_MODEL = env.text("OPENAI_MODEL")
OPENAI_TEMPERATURE = env.number("OPENAI_TEMPERATURE", 0.2, 0.0, 2.0)
OPENAI_TEMPERATURE_FORCED = env.flag("OPENAI_TEMPERATURE_FORCED", False)
OPENAI_TIMEOUT = env.integer("OPENAI_TIMEOUT", 60, 1, 600)
OPENAI_FIRST_TIMEOUT = env.integer("OPENAI_FIRST_TIMEOUT", 20, 1, 600)  # then it is given up
OPENAI_MAX_TOKENS = env.integer("OPENAI_MAX_TOKENS", 4096, 0, 131_072)  # of an answer; 0: not sent
OPENAI_EMBEDDING_MODEL = env.text("OPENAI_EMBEDDING_MODEL")
OPENAI_EMBEDDING_BASE_URL = env.url("OPENAI_EMBEDDING_BASE_URL", OPENAI_BASE_URL)
OPENAI_EMBEDDING_DIMENSIONS = env.integer("OPENAI_EMBEDDING_DIMENSIONS", 1024, 8, 4000)
EMBED_SECONDS = env.number("OPSDESK_EMBED_SECONDS", 5.0, 0.1, 60.0)  # of a question; then words
# Describes the figures of documents: any model that takes pictures, such as Qwen2.5-VL.
VISION_BASE_URL = env.url("VISION_BASE_URL")
VISION_API_KEY = env.text("VISION_API_KEY", "none")
VISION_MODEL = env.text("VISION_MODEL")
VISION_TIMEOUT = env.integer("VISION_TIMEOUT", 60, 1, 600)
VISION_CONCURRENCY = env.integer("VISION_CONCURRENCY", 3, 1, 32)  # pictures asked about at once
# Reads question and passages together and orders the best of them anew.
RERANKER = env.choice("OPSDESK_RERANKER", "", ("", "bge-reranker", "endpoint", "colbert"))
RERANK_URL = env.url("OPSDESK_RERANK_URL")  # with or without /rerank at its end
RERANK_MODEL = env.text("OPSDESK_RERANK_MODEL")  # for bge-reranker also a folder
RERANK_API_KEY = env.text("OPSDESK_RERANK_API_KEY", "none")
RERANK_SECONDS = env.number("OPSDESK_RERANK_SECONDS", 5.0, 0.1, 60.0)  # then without it
RERANK_PASSAGES = env.integer("OPSDESK_RERANK_PASSAGES", 50, 2, 100)

# Whatever of these fails so often in a row is left alone for so many seconds; others go on.
BREAKER_FAILURES = env.integer("OPSDESK_BREAKER_FAILURES", 3, 1, 100)
BREAKER_SECONDS = env.number("OPSDESK_BREAKER_SECONDS", 30.0, 0.1, 3600.0)
# Who is told: an address that takes a POST (a WeCom or DingTalk robot does), and mail.
ALERT_WEBHOOK = env.url("OPSDESK_ALERT_WEBHOOK")
ADMINS = [("", address) for address in env.words("OPSDESK_ALERT_MAIL")]
_mail = env.mail("OPSDESK_MAIL_URL")
EMAIL_HOST, EMAIL_PORT = _mail["HOST"], _mail["PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail["USER"], _mail["PASSWORD"]
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail["TLS"], _mail["SSL"]
EMAIL_TIMEOUT = 10
SERVER_EMAIL = DEFAULT_FROM_EMAIL = env.text("OPSDESK_MAIL_FROM", "opsdesk@localhost")
EMAIL_SUBJECT_PREFIX = ""

# An index of vectors is asked through the embedder it was made with, by name, also after
# OPSDESK_EMBEDDER chose another one for the next.
EMBEDDERS: dict[str, dict[str, Any]] = {
    "bge-m3": {
        "BACKEND": "knowledge.embedders.FlagEmbedder",
        "OPTIONS": {"model": "BAAI/bge-m3", "dimensions": 1024, "folder": MODEL_CACHE},
    },
    "openai": {
        "BACKEND": "knowledge.embedders.OpenAIEmbedder",
        "OPTIONS": {
            "base_url": OPENAI_EMBEDDING_BASE_URL,
            "api_key": OPENAI_API_KEY,
            "model": OPENAI_EMBEDDING_MODEL,
            "dimensions": OPENAI_EMBEDDING_DIMENSIONS,
        },
    },
}
RERANKERS: dict[str, dict[str, Any]] = {
    "bge-reranker": {
        "BACKEND": "knowledge.rerankers.FlagReranker",
        "OPTIONS": {
            "model": RERANK_MODEL or "BAAI/bge-reranker-v2-m3",
            "seconds": RERANK_SECONDS,
        },
    },
    "endpoint": {
        "BACKEND": "knowledge.rerankers.EndpointReranker",
        "OPTIONS": {
            "url": RERANK_URL,
            "api_key": RERANK_API_KEY,
            "model": RERANK_MODEL,
            "seconds": RERANK_SECONDS,
        },
    },
    "colbert": {
        "BACKEND": "knowledge.rerankers.ColbertReranker",
        "OPTIONS": {"seconds": RERANK_SECONDS},
    },
}
# Where chunks are searched; PostgreSQL stays the truth.
STORE = env.choice("OPSDESK_STORE", "", ("", "milvus"))
MILVUS_URI = env.text("MILVUS_URI")  # http://host:19530, or a file for milvus-lite
STORES: dict[str, dict[str, Any]] = {
    "": {"BACKEND": "knowledge.stores.base.Store"},
    "milvus": {
        "BACKEND": "knowledge.stores.milvus.MilvusStore",
        "OPTIONS": {"uri": MILVUS_URI, "token": env.text("MILVUS_TOKEN")},
    },
}
BACKENDS: dict[str, dict[str, Any] | None] = {
    "store": STORES[STORE],
    "embedder": EMBEDDERS.get(EMBEDDER),
    "reranker": RERANKERS.get(RERANKER),
    "llm": {
        "BACKEND": "chat.llms.OpenAIModel",
        "OPTIONS": {
            "base_url": OPENAI_BASE_URL,
            "api_key": OPENAI_API_KEY,
            "model": OPENAI_MODEL,
            "temperature": OPENAI_TEMPERATURE,
            "timeout": OPENAI_TIMEOUT,
            "first_timeout": OPENAI_FIRST_TIMEOUT,
            "max_tokens": OPENAI_MAX_TOKENS,
        },
    }
    if OPENAI_BASE_URL and OPENAI_MODEL
    else None,
    "vision": {
        "BACKEND": "knowledge.vision.VisionModel",
        "OPTIONS": {
            "base_url": VISION_BASE_URL,
            "api_key": VISION_API_KEY,
            "model": VISION_MODEL,
            "timeout": VISION_TIMEOUT,
        },
    }
    if VISION_BASE_URL and VISION_MODEL
    else None,
}

# --- Reading: natively, or by MinerU's models, here or on a server ----------------
PARSE_TIER = env.choice("OPSDESK_PARSE_TIER", "native", ("native", "basic", "standard", "advanced"))
MINERU_URL = env.url("MINERU_URL")  # empty: MinerU's package, where it is installed
MINERU_API_KEY = env.text("MINERU_API_KEY")
# The home under which `mineru-models-download` has put the models.
MINERU_HOME = env.text("OPSDESK_MINERU_HOME", str(Path.home()))

# --- Knowledge and chat ---------------------------------------------------------
UPLOAD_MAX_BYTES = env.integer("OPSDESK_UPLOAD_MAX_MB", 100, 1, 2000) * 1024 * 1024
# What customers send with their questions, and a function that looks at it first:
# `chat.uploads._scan`.
CHAT_UPLOAD_MAX_BYTES = env.integer("OPSDESK_CHAT_UPLOAD_MAX_MB", 10, 1, 50) * 1024 * 1024
CHAT_UPLOAD_SCAN = env.text("OPSDESK_CHAT_UPLOAD_SCAN")
# Where knowledge comes from by itself: each kind a subclass of knowledge.sources.base.Backend.
SOURCES: dict[str, dict[str, Any]] = {
    "web": {"BACKEND": "knowledge.sources.web.Page"},
    "sitemap": {"BACKEND": "knowledge.sources.web.Sitemap"},
    "link": {"BACKEND": "knowledge.sources.link.Link"},
    "feishu": {"BACKEND": "knowledge.sources.feishu.Feishu"},
    "folder": {"BACKEND": "knowledge.sources.folder.Folder"},
}
FETCH_DELAY = env.number("OPSDESK_FETCH_DELAY", 1.0, 0.0, 60.0)  # seconds between two requests
FETCH_PRIVATE = env.words("OPSDESK_FETCH_PRIVATE")  # hosts and networks of the intranet
INBOX = HOME / "inbox"  # a folder for each knowledge base
WATCH_ROOTS = env.words("OPSDESK_WATCH_ROOTS")  # other folders that may be watched
PASSAGES = env.integer("OPSDESK_PASSAGES", 5, 1, 20)  # passages given to an answer …
# … of so many characters together (docs/retrieval.md has what that costs).
PASSAGE_CHARACTERS = env.integer("OPSDESK_PASSAGE_CHARACTERS", 6000, 500, 40_000)
CONFIDENCE = env.number("OPSDESK_CONFIDENCE", 0.5, 0.0, 1.0)  # below: a person
ANSWER_CONFIDENCE = env.number("OPSDESK_ANSWER_CONFIDENCE", 0.35, 0.0, 1.0)  # below: a choice
JUDGE = env.flag("OPSDESK_JUDGE", False)  # the model looks at its answers a second time
# Sampled answers that a model judges a day; 0: words judge all.
REVIEWS = env.integer("OPSDESK_REVIEWS", 500, 0, 100_000)
# What certificates hold figures against, until staff set goals in the administration.
GOALS = {
    "accuracy": env.number("OPSDESK_ACCURACY_GOAL", 0.9, 0.0, 1.0),
    "recall": env.number("OPSDESK_RECALL_GOAL", 0.7, 0.0, 1.0),
}
TURN_SECONDS = env.integer("OPSDESK_TURN_SECONDS", 120, 5, 600)  # budget of one answer
UNDERSTAND_SECONDS = env.number("OPSDESK_UNDERSTAND_SECONDS", 6.0, 0.0, 60.0)  # of these, to read
MEANWHILE_THREADS = 2  # of a process, that read what does not wait for the rest of a search
TURN_THREADS = env.integer("OPSDESK_TURN_THREADS", 4, 1, 32)  # answers made at once
# Answers given again to who asks the same while nothing changed: so many, for so long; 0: none.
KEPT_ANSWERS = env.integer("OPSDESK_KEPT_ANSWERS", 2000, 0, 1_000_000)
KEPT_HOURS = env.integer("OPSDESK_KEPT_HOURS", 24, 1, 8760)
# What golden questions and yesterday's say of a change is told, or keeps it back; 0 of
# yesterday's: golden ones alone. Then what a change may lose of each, net, in per cent.
GATE = env.choice("OPSDESK_GATE", "block", ("block", "warn", "off"))
GATE_YESTERDAY = env.integer("OPSDESK_GATE_YESTERDAY", 50, 0, 1000)
GATE_LOSS = env.number("OPSDESK_GATE_LOSS", 2.0, 0.0, 100.0)
GATE_TRAFFIC_LOSS = env.number("OPSDESK_GATE_TRAFFIC_LOSS", 10.0, 0.0, 100.0)
# Where runs of questions are written down beside: a subclass of evaluation.tracking.Tracker.
MLFLOW_URL = env.url("MLFLOW_TRACKING_URI")
TRACKER: dict[str, Any] | None = (
    {
        "BACKEND": "evaluation.tracking.MLflow",
        "OPTIONS": {
            "url": MLFLOW_URL,
            "experiment": env.text("MLFLOW_EXPERIMENT_NAME", "opsdesk"),
            "token": env.text("MLFLOW_TRACKING_TOKEN"),
        },
    }
    if MLFLOW_URL
    else None
)
# What can be done beside answering: each a subclass of chat.tools.base.Tool. Staff add HTTP tools
# in the administration, which call only the hosts named here ("host" or "host:port").
TOOLS = [
    "chat.tools.builtin.ExportPdf",
    "chat.tools.builtin.ExportDocx",
    "chat.tools.builtin.CallHuman",
    "chat.tools.builtin.SearchKnowledge",
]
TOOL_HOSTS = env.words("OPSDESK_TOOL_HOSTS")
TOOL_WAIT = env.number("OPSDESK_TOOL_WAIT", 3.0, 0.1, 30.0)  # seconds; then it is delivered later
TOOL_CALL_DAYS = env.integer("OPSDESK_TOOL_CALL_DAYS", 365, 0, 36_500)  # 0: kept for ever
# Where the chat finds `reopen`, `heard`, `leave_contact`, `standing` and `rate`.
CHAT_DESK = "handoff.desk"
# What staff can do with a conversation beside talking: each a subclass of handoff.actions.Action.
CONSOLE_ACTIONS = ["handoff.learning.FaqDraft", "evaluation.golden.Regression"]
# Who beside its customer may open what came in a conversation: functions of (user, conversation).
CONVERSATION_READERS = ["handoff.access.opens"]
# How long a conversation is held for the agent it is offered to; 0: agents take from the queue.
HANDOFF_OFFER_SECONDS = env.number("OPSDESK_OFFER_SECONDS", 45.0, 0.0, 3600.0)
# After how long a waiting customer is told that it takes long, with the form; 0: never.
HANDOFF_WAIT_MINUTES = env.integer("OPSDESK_WAIT_MINUTES", 5, 0, 24 * 60)
# After how long without a sign of life an agent's conversations go back to the queue; 0: never.
HANDOFF_GONE_MINUTES = env.integer("OPSDESK_AGENT_GONE_MINUTES", 10, 0, 24 * 60)
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
DATA_UPLOAD_MAX_NUMBER_FILES = 200

# --- Accounts and security ------------------------------------------------------
AUTHENTICATION_BACKENDS = ["opsdesk.throttling.ThrottledModelBackend"]
LOGIN_TRIES = env.integer("OPSDESK_LOGIN_TRIES", 5, 1, 100)  # for an account from an address
LOGIN_SECONDS = env.integer("OPSDESK_LOGIN_SECONDS", 900, 10, 86_400)  # until one is free again
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
X_FRAME_OPTIONS = "DENY"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "opsdesk_cache",
        # Signs of life and counted tries lie there: the default of 300 would drop them.
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
    # Of one process: what is counted for a minute and may be lost.
    "local": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
}

REST_FRAMEWORK = {
    # The session is for the documentation page; it asks for the CSRF token.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "opsdesk.tokens.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "opsdesk.tokens.HasScope",
    ],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": [
        "rest_framework.throttling.UserRateThrottle",
        "rest_framework.throttling.AnonRateThrottle",
    ],
    "DEFAULT_THROTTLE_RATES": {  # requests a minute
        "user": f"{env.integer('OPSDESK_API_RATE', 600, 1, 1_000_000)}/min",
        "anon": f"{env.integer('OPSDESK_API_ANONYMOUS_RATE', 30, 1, 1_000_000)}/min",
    },
    # The address comes from the server, which knows the proxies it trusts; not from a header.
    "NUM_PROXIES": 0,
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 50,
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "opsdesk.refusals.refuse",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "OpsDesk API",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,  # an upload is bytes, not a link
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "deepLinking": True,
        "persistAuthorization": False,
        "docExpansion": "list",
    },
}

# --- Processes ------------------------------------------------------------------
# What `manage.py serve` runs: a command of manage.py, its role, its environment, and how many
# database connections it may hold (django-q's pusher, monitor and sentinel have one each).
PROCESSES = {
    "web": {
        "COMMAND": ["web"],
        "ROLE": "web",
        "CONNECTIONS": WEB_PROCESSES * (WEB_CONNECTIONS + MEANWHILE_THREADS + 2),
    },
    "worker": {
        "COMMAND": ["qcluster"],
        "CONNECTIONS": Q_CLUSTER["workers"] * (1 + MEANWHILE_THREADS) + 3,
    },
    "short": {
        "COMMAND": ["qcluster"],
        "ENVIRONMENT": {"Q_CLUSTER_NAME": "short"},
        "CONNECTIONS": Q_CLUSTER["ALT_CLUSTERS"]["short"]["workers"] * (1 + MEANWHILE_THREADS) + 3,
    },
    "turns": {"COMMAND": ["run_turns"], "CONNECTIONS": TURN_THREADS + MEANWHILE_THREADS + 2},
    "watch": {"COMMAND": ["watch"], "CONNECTIONS": 1},
}

# --- Language, time, files ------------------------------------------------------
LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", "简体中文"), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.time_zone("OPSDESK_TIME_ZONE", "Asia/Shanghai")
USE_I18N = USE_TZ = True
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # from where they lie: nothing to collect, nothing stale
MEDIA_ROOT = HOME / "files"  # served only by views that check who may read
MEDIA_URL = ""
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

LOG_LEVEL = env.choice("OPSDESK_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING_CONFIG = "opsdesk.logs.configure"
# By default text on a terminal, JSON elsewhere.
LOG_FORMAT = env.choice("OPSDESK_LOG_FORMAT", "", ("", "json", "text"))
LOGGING = {"level": LOG_LEVEL, "format": LOG_FORMAT}

ENVIRONMENT = env
