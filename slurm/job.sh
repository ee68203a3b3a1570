# Common part of all batch scripts in this folder, sourced in the project's directory or in the copy made when the sweep
# was submitted. Site settings come from slurm/site.sh (see slurm/site.sh.example).

# CPUs of a task of this job, at most those that its processes may use
threads() {
    local usable
    usable=$(env -u OMP_NUM_THREADS nproc)
    echo "$((${SLURM_CPUS_PER_TASK:-1} < usable ? ${SLURM_CPUS_PER_TASK:-1} : usable))"
}

export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 WANDB_MODE=offline # no internet on compute nodes, unless the site overrides it
CONTAINER=()         # runs a command in a container: launch.container
CONTAINER_STEP=()    # options with which srun does so
CONTAINER_IN_STEP=() # runs a command in it where srun has no such options
HOST_PYTHON=         # outside the container, for what calls SLURM; empty: PYTHON, which is the one inside
if [[ -r slurm/site.sh ]]; then
    source slurm/site.sh
fi
set -euo pipefail

PYTHON=${PYTHON:-python}
HOST_PYTHON=${HOST_PYTHON:-$PYTHON}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 # the code of this directory first
SITE_THREADS=${OMP_NUM_THREADS-} # empty: follow the CPUs of the job
export OMP_NUM_THREADS=${SITE_THREADS:-$(threads)} TOKENIZERS_PARALLELISM=false
export STALL_MINUTES=${STALL_MINUTES:-60} # minutes without progress after which a worker is ended; none: never

# The id of this array element; SLURM_ARRAY_JOB_ID alone would mean all elements of the array.
if [[ -n ${SLURM_ARRAY_JOB_ID-} ]]; then
    ELEMENT=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}
else
    ELEMENT=$SLURM_JOB_ID
fi
DIRECTORIES=() # stage directories of the current step
UNITS=()       # of this element
SIGNALS=0      # signals received so far
trap 'SIGNALS=1' USR1 # no step runs yet that could receive it
echo "job $ELEMENT on ${SLURM_JOB_NODELIST-?}, restart ${SLURM_RESTART_COUNT:-0}, $(date -Is)"

# units KIND FILE           as the launcher calls it: read this element's lines from the file. A line has the element's
#                           number and the stage directories of one process
# units KIND OVERRIDE...    by hand: plan, run the inputs that need no GPU, and list the stages for this kind of job. In an
#                           array each element starts at another line and skips stages that others are making
units() {
    local kind=$1 file first
    shift
    if [[ $kind == generate && -n ${SLURM_JOB_GPUS-} && -z $SITE_THREADS ]]; then
        unset OMP_NUM_THREADS # vLLM chooses for its processes, if nobody else does
    fi
    RUN=("${CONTAINER[@]}" "$PYTHON" -m sweep.worker.run --stall-minutes "$STALL_MINUTES")
    if [[ $# == 1 && -f $1 ]]; then
        SUBMISSION=$(dirname "$(dirname "$1")")
        JOB=$(basename "$1" .units)
        trap finish EXIT
        feed
        probe "$1"
        if [[ $kind != cpu ]]; then follow "$SUBMISSION"; fi
        mapfile -t UNITS < <(sed -n "s/^${SLURM_ARRAY_TASK_ID:-0}\t//p" "$1")
        return
    fi
    file=$(mktemp)
    step "${CONTAINER[@]}" "$PYTHON" -m sweep prepare "$kind" "$file" "$@"
    mapfile -t UNITS <"$file"
    rm -f "$file"
    if [[ -n ${SLURM_ARRAY_TASK_ID-} && ${#UNITS[@]} -gt 0 ]]; then
        first=$((SLURM_ARRAY_TASK_ID % ${#UNITS[@]}))
        UNITS=("${UNITS[@]:first}" "${UNITS[@]:0:first}")
        RUN+=(--unless-busy)
    fi
}

# probe FILE    once per submission: check the store from this node; end the job if no stage could be published
probe() {
    local submission
    submission=$(dirname "$(dirname "$1")")
    if [[ ${SLURM_ARRAY_TASK_ID:-0} == 0 && ! -e $submission/probe.json ]]; then
        step "${CONTAINER[@]}" "$PYTHON" -m sweep.slurm.probe "$submission" "$(basename "$1" .units)"
    fi
}

# follow SUBMISSION    if jobs have internet (WANDB_MODE=online), send what this job makes to W&B while it makes it
#
# The process ends when this shell closes its standard input. What it has not sent, `sweep sync` sends later.
follow() {
    if [[ $WANDB_MODE != online ]]; then return; fi
    exec {FOLLOWER}> >(exec "${CONTAINER[@]}" "$PYTHON" -m sweep sync "$1" --watch --attached)
    FOLLOWER_PID=$!
}

# feed    while elements of the submission wait outside the queue: submit those that fit into it now
feed() {
    if [[ -e $SUBMISSION/waves.json ]]; then "$HOST_PYTHON" -m sweep.slurm.feed "$SUBMISSION" || true; fi
}

# finish    at the end of an element that the launcher submitted
finish() {
    local status=$?
    trap '' USR1 # a signal must not end the element before it has submitted others
    if [[ -n ${FOLLOWER_PID-} ]]; then unfollow; fi
    if [[ -z ${RESTARTS-} ]]; then feed; fi
    exit "${FAILURE:-$status}"
}

unfollow() {
    exec {FOLLOWER}>&-
    for _ in {1..120}; do # a minute for the upload
        if ! kill -0 "$FOLLOWER_PID" 2>/dev/null; then break; fi
        sleep 0.5
    done
}

# step COMMAND...    run a command; forward USR1 (walltime limit near, or preemption) and TERM to it
step() {
    local status=0 child seen=0
    "$@" &
    child=$!
    trap 'pass USR1 "$child"' USR1
    trap 'pass TERM "$child"' TERM
    if ((SIGNALS)); then pass USR1 "$child"; fi
    while :; do # a signal interrupts wait, not the step
        seen=$SIGNALS status=0
        wait "$child" || status=$?
        if ((SIGNALS == seen)); then break; fi
    done
    if ((status != 0)); then ended "$status"; fi
    trap 'SIGNALS=1' USR1 # no child until the next step
    trap - TERM
}

pass() {
    SIGNALS=$((SIGNALS + 1))
    kill -"$1" "$2" 2>/dev/null || true
}

# make UNIT COMMAND...    run a step that makes the stages of a unit
#
# An empty unit separates the units of a packed element: what follows it does not need what precedes it.
make() {
    local unit=$1
    shift
    if [[ -z $unit ]]; then BROKEN=; fi
    if [[ -z $unit || -n ${BROKEN-} ]]; then return; fi
    IFS=$'\t' read -ra DIRECTORIES <<<"$unit"
    step "$@" "${DIRECTORIES[@]}"
}

# Whether SLURM reports this job as running; retried for a while, as the controller may be restarting.
is_running() {
    local state attempt
    for attempt in {1..20}; do
        if state=$(squeue -h -j "$ELEMENT" -o %T); then
            [[ $state == RUNNING ]]
            return
        fi
        sleep 2
    done
    return 1
}

# ended STATUS    a step failed: restart the job if the step was interrupted, or else exit with its status
#
# A step was interrupted if it wrote no failure and received a signal, or exited with 75. If SLURM still reports the job
# as running, nobody cancelled it: it reached a limit, or is preempted with a grace period, and is put back into the
# queue. Where that is not allowed, a job for the same work follows it. Either continues from the checkpoint, or from the
# tokens in the continuation store. sweep/slurm/restart.py counts restarts without progress, and ends the job after a few.
ended() {
    local status=$1 directory
    for directory in "${DIRECTORIES[@]}"; do
        if [[ -e $directory/failed.json ]]; then
            failed "$status"
            return
        fi
    done
    if ((status != 75 && SIGNALS == 0)); then
        failed "$status"
        return
    fi
    if is_running; then
        RESTARTS=1
        trap '' TERM USR1
        "$HOST_PYTHON" -m sweep.slurm.restart --element "$ELEMENT" --restarts "${SLURM_RESTART_COUNT:-0}" \
            ${SUBMISSION:+--submission "$SUBMISSION" --job "$JOB" --index "${SLURM_ARRAY_TASK_ID:-0}"} \
            "${DIRECTORIES[@]}" || RESTARTS=
    fi
    exit 75
}

# failed STATUS    exit with this status; in a packed element, first make the units that need nothing of this one
failed() {
    local unit
    for unit in "${UNITS[@]}"; do
        if [[ -z $unit ]]; then
            BROKEN=1 FAILURE=$1
            return
        fi
    done
    exit "$1"
}
