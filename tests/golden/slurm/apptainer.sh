# The container of launch.container.
# Python runs as: apptainer exec --nv --bind '/data/my store' --bind /data/hf --bind /data --bind /scratch:/tmp /images/s1.sif /opt/venv/bin/python -m sweep.worker.run ...
HOST_PYTHON=${PYTHON:-python}
PYTHON=/opt/venv/bin/python
CONTAINER=(apptainer exec --nv --bind '/data/my store' --bind /data/hf --bind /data --bind /scratch:/tmp /images/s1.sif)
CONTAINER_IN_STEP=("${CONTAINER[@]}")
