# The container of launch.container.
# Python runs as: srun '--container-image=nvcr.io#nvidia/pytorch:25.01-py3' '--container-mounts=/data/my store:/data/my store,/data/hf:/data/hf,/data:/data,/scratch:/tmp' python -m sweep.worker.run ...
HOST_PYTHON=${PYTHON:-python}
PYTHON=python
CONTAINER_STEP=('--container-image=nvcr.io#nvidia/pytorch:25.01-py3' '--container-mounts=/data/my store:/data/my store,/data/hf:/data/hf,/data:/data,/scratch:/tmp')
CONTAINER=(srun --nodes=1 --ntasks=1 --ntasks-per-node=1 --export=ALL --cpus-per-task="${SLURM_CPUS_ON_NODE:-1}" "${CONTAINER_STEP[@]}")
