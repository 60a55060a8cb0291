# CUDA's packages and what CMake must be told of them; sourced after common.sh.
cuda_requirements=scripts/cuda-requirements.txt

# packages_of PYTHON: the folder of its installed packages.
packages_of() { "$1" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])'; }

# cuda_arguments PACKAGES: the arguments of cmake, one a line. FindCUDA asks for a compiler and a plain libcudart.so;
# nvrtc is asked for, and never used. The device's own kind does not matter: there are no kernels of ours for it.
cuda_arguments() {
  local toolkit
  toolkit=$(echo "$1"/nvidia/cu[0-9]*)
  [ -e "$toolkit/lib/libcudart.so" ] || ln -s libcudart.so.13 "$toolkit/lib/libcudart.so"
  printf '%s\n' -G Ninja "-DDSMOE_BACKENDS=local;mpi;nccl" "-DTorch_DIR=$1/torch/share/cmake/Torch" \
    "-DCUDA_TOOLKIT_ROOT_DIR=$toolkit" "-DCUDA_nvrtc_LIBRARY=$toolkit/lib/libcudart.so" -DTORCH_CUDA_ARCH_LIST=9.0
}
