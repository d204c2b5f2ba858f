# One image, different commands: `celery -A worker worker`, `celery -A worker beat`,
# `mediastore sweep --watch`, `mediastore doctor`. The target `flower` adds Flower.

FROM python:3.11-slim AS build
RUN python -m venv /opt/mediastore
ENV PATH=/opt/mediastore/bin:$PATH
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir ".[worker]" "hiredis>=3.2"

FROM build AS build-flower
RUN pip install --no-cache-dir "flower>=2,<3"

FROM python:3.11-slim AS base
# Bots that share the media volume run with this group, or with this user.
RUN groupadd --gid 10001 mediastore \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/mediastore \
        --shell /usr/sbin/nologin mediastore \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/mediastore \
    && install --directory --owner 10001 --group 10001 --mode 2770 /srv/media
# Heartbeats of `mediastore health` are left below XDG_STATE_HOME.
ENV PATH=/opt/mediastore/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_STATE_HOME=/var/lib
# A `worker.py` in the working directory would be imported instead of ours: an empty one of its own.
WORKDIR /var/lib/mediastore
USER 10001:10001
STOPSIGNAL SIGTERM
CMD ["celery", "-A", "worker", "worker", "--loglevel", "INFO"]

FROM base AS flower
COPY --from=build-flower /opt/mediastore /opt/mediastore

FROM base AS mediastore
COPY --from=build /opt/mediastore /opt/mediastore
