# The container of launch.container.
HOST_PYTHON=${PYTHON:-python}
PYTHON=/opt/venv/bin/python
CONTAINER=(apptainer exec --nv --bind '/data/my store' --bind /data/hf --bind /data --bind /scratch:/tmp /images/s1.sif)
CONTAINER_IN_STEP=("${CONTAINER[@]}")
