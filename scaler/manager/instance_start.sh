#!/bin/sh
# Starts a Scaler worker on a machine of its own, and powers the machine off when the worker ends.
#
# Worker managers put assignments of these variables before it, and send it as the user data of the machines they start.
# By hand, on a machine that is to stay:
#
#   SCALER_COMMAND='scaler.cli.cluster tcp://10.0.0.1:8516' SCALER_REQUIREMENTS=opengris-scaler SCALER_POWER_OFF=: sh instance_start.sh
#
# SCALER_WORKER_ORDER  what python -m scaler.worker is told; a worker manager knows it
# SCALER_PYTHON        the Python to use
# SCALER_REQUIREMENTS  what to install into a new environment of that Python, separated by ';'; empty: it has all that is needed
# SCALER_ENVIRONMENT   where that environment is made
# SCALER_COMMAND       the module to run, and its arguments
# SCALER_SPOT          yes: have the worker leave when Amazon is about to take the machine away
# SCALER_MOST_MINUTES  power the machine off after so long, whatever it does; 0: never
# SCALER_POWER_OFF     the command that does
set -u
: "${SCALER_WORKER_ORDER:=}" "${SCALER_PYTHON:=python3}" "${SCALER_REQUIREMENTS:=}" "${SCALER_SPOT:=no}"
: "${SCALER_ENVIRONMENT:=/opt/scaler-environment}" "${SCALER_COMMAND:=scaler.worker}"
: "${SCALER_MOST_MINUTES:=0}" "${SCALER_POWER_OFF:=shutdown -h now}"
worker=
# shellcheck disable=SC2329 # Traps call these two.
finish() {
    code=$?
    trap - EXIT
    echo "scaler: ended with exit code $code; powering off"
    $SCALER_POWER_OFF
    exit "$code"
}
# shellcheck disable=SC2329
pass_on() {
    if [ -n "$worker" ]; then kill -TERM "$worker" 2>/dev/null; else exit 143; fi
}
trap finish EXIT
trap pass_on TERM INT

if [ "$SCALER_MOST_MINUTES" -gt 0 ]; then shutdown -h "+$SCALER_MOST_MINUTES" || exit 1; fi
if [ -n "$SCALER_REQUIREMENTS" ]; then
    "$SCALER_PYTHON" -m venv "$SCALER_ENVIRONMENT" || exit 1
    SCALER_PYTHON=$SCALER_ENVIRONMENT/bin/python
    printf '%s\n' "$SCALER_REQUIREMENTS" | tr ';' '\n' >"$SCALER_ENVIRONMENT/requirements.txt"
    "$SCALER_PYTHON" -m pip install -q -r "$SCALER_ENVIRONMENT/requirements.txt" || exit 1
fi
export SCALER_WORKER_ORDER
# shellcheck disable=SC2086 # The command has arguments.
"$SCALER_PYTHON" -m $SCALER_COMMAND &
worker=$!
if [ "$SCALER_SPOT" = yes ]; then "$SCALER_PYTHON" -m scaler.worker.notice "$worker" & fi
code=0
while kill -0 "$worker" 2>/dev/null; do
    wait "$worker"
    code=$?
done
# A signal ends a wait before the worker has ended: then how that ended is not known yet. 127: it is.
wait "$worker"
last=$?
if [ "$last" != 127 ]; then code=$last; fi
exit "$code"
