# What every batch script of this folder begins with; sourced in the project's directory, or in the copy of it that was
# made when the sweep was submitted. Site settings come from slurm/site.sh (an example lies beside it).

export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 WANDB_MODE=offline # no internet there, unless the site says otherwise
if [[ -r slurm/site.sh ]]; then
    source slurm/site.sh
fi
set -euo pipefail

PYTHON=${PYTHON:-python}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 # the code of this directory first
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}} TOKENIZERS_PARALLELISM=false
export STALL_MINUTES=${STALL_MINUTES:-60} # without progress, after which a step is ended; none: never

# One array element has an id of its own: that of the array would mean all of them.
if [[ -n ${SLURM_ARRAY_JOB_ID-} ]]; then
    ELEMENT=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}
else
    ELEMENT=$SLURM_JOB_ID
fi
DIRECTORIES=() # of the stages that the step at hand makes
SIGNALS=0      # how many came
trap 'SIGNALS=1' USR1 # before a step runs there is nothing to pass it on to
echo "job $ELEMENT on ${SLURM_JOB_NODELIST-?}, restart ${SLURM_RESTART_COUNT:-0}, $(date -Is)"

# units KIND FILE           as the launcher calls: the lines of this element in the file, the stage directories of a process
#                           each, behind the element's number
# units KIND OVERRIDE...    by hand: plan, make here what needs no GPU, and list what this kind of job is for; in an array
#                           by hand each element begins at another line, and leaves to others what they are making
units() {
    local kind=$1 file first
    shift
    RUN=("$PYTHON" -m sweep.worker.run --stall-minutes "$STALL_MINUTES")
    if [[ $# == 1 && -f $1 ]]; then
        probe "$1"
        mapfile -t UNITS < <(sed -n "s/^${SLURM_ARRAY_TASK_ID:-0}\t//p" "$1")
        return
    fi
    file=$(mktemp)
    step "$PYTHON" -m sweep prepare "$kind" "$file" "$@"
    mapfile -t UNITS <"$file"
    rm -f "$file"
    if [[ -n ${SLURM_ARRAY_TASK_ID-} && ${#UNITS[@]} -gt 0 ]]; then
        first=$((SLURM_ARRAY_TASK_ID % ${#UNITS[@]}))
        UNITS=("${UNITS[@]:first}" "${UNITS[@]:0:first}")
        RUN+=(--unless-busy)
    fi
}

# probe FILE    once for a submission: what this node can do in its store; where nothing could be published the job ends
probe() {
    local submission
    submission=$(dirname "$(dirname "$1")")
    if [[ ${SLURM_ARRAY_TASK_ID:-0} == 0 && ! -e $submission/probe.json ]]; then
        step "$PYTHON" -m sweep.slurm.probe "$submission" "$(basename "$1" .units)"
    fi
}

# step COMMAND...    run it; pass on USR1 (the walltime limit is near, or another job comes first) and TERM
step() {
    local status=0 child seen=0
    "$@" &
    child=$!
    trap 'pass USR1 "$child"' USR1
    trap 'pass TERM "$child"' TERM
    if ((SIGNALS)); then pass USR1 "$child"; fi
    while :; do # a signal ends the wait, not the step
        seen=$SIGNALS status=0
        wait "$child" || status=$?
        if ((SIGNALS == seen)); then break; fi
    done
    if ((status != 0)); then ended "$status"; fi
    trap 'SIGNALS=1' USR1 # until the next step there is no child
    trap - TERM
}

pass() {
    SIGNALS=$((SIGNALS + 1))
    kill -"$1" "$2" 2>/dev/null || true
}

# make UNIT COMMAND...    a step that makes the stages of a unit
make() {
    local unit=$1
    shift
    IFS=$'\t' read -ra DIRECTORIES <<<"$unit"
    step "$@" "${DIRECTORIES[@]}"
}

# Whether SLURM calls this job running; asked for a while, as a controller that is being restarted answers later.
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

# ended STATUS    the step did not make what it was to make: go on later if it was interrupted, or else fail
#
# Interrupted is what wrote no failure and was told to end, or says so itself (75). While SLURM calls the job running,
# nobody has cancelled it: it was a limit, or a preemption that grants a grace, and the job is put back into the queue.
# It goes on from its checkpoint, or from the tokens that it has written down.
ended() {
    local status=$1 directory
    for directory in "${DIRECTORIES[@]}"; do
        if [[ -e $directory/failed.json ]]; then exit "$status"; fi
    done
    if ((status != 75 && SIGNALS == 0)); then exit "$status"; fi
    if ((${SLURM_RESTART_COUNT:-0} >= ${MOST_RESTARTS:-100})); then
        echo "interrupted ${MOST_RESTARTS:-100} times: given up. Give it more time: launch.minutes." >&2
        exit "$status"
    fi
    if is_running; then
        echo "interrupted: job $ELEMENT is put back into the queue, $(date -Is)"
        trap '' TERM
        if ! scontrol requeue "$ELEMENT"; then
            echo "it could not be put back, so it ends here. To go on from what is kept: python -m sweep resume" >&2
        fi
    fi
    exit 75
}
