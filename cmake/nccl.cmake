# NCCL and the CUDA runtime: dsmoe_nccl where DSMOE_BACKENDS has nccl. They are looked for beside LibTorch, in the
# packages that the CUDA wheel brings: one process must not load two of either.
if(NOT "nccl" IN_LIST DSMOE_BACKENDS)
  return()
endif()
if(NOT TARGET torch_cuda)
  message(FATAL_ERROR "DSMOE_BACKENDS has nccl, but LibTorch is a CPU build.\n"
                      "hint: run scripts/setup --cuda, or give -DTorch_DIR= of a CUDA build")
endif()
get_filename_component(packages ${TORCH_INSTALL_PREFIX}/.. ABSOLUTE)
file(GLOB cuda_packages ${packages}/nvidia/cu[0-9]*)
find_path(NCCL_INCLUDE nccl.h HINTS ${packages}/nvidia/nccl/include REQUIRED)
find_library(NCCL_LIBRARY NAMES libnccl.so.2 nccl HINTS ${packages}/nvidia/nccl/lib REQUIRED)
find_path(CUDART_INCLUDE cuda_runtime_api.h HINTS ${CUDA_TOOLKIT_ROOT_DIR}/include ${cuda_packages} PATH_SUFFIXES include
          REQUIRED)
find_library(CUDART_LIBRARY NAMES cudart libcudart.so.13 libcudart.so.12 HINTS ${CUDA_TOOLKIT_ROOT_DIR} ${cuda_packages}
             PATH_SUFFIXES lib lib64 REQUIRED)
add_library(dsmoe_nccl INTERFACE)
target_include_directories(dsmoe_nccl SYSTEM INTERFACE "$<BUILD_INTERFACE:${NCCL_INCLUDE};${CUDART_INCLUDE}>")
target_link_libraries(dsmoe_nccl INTERFACE ${NCCL_LIBRARY} ${CUDART_LIBRARY})
install(TARGETS dsmoe_nccl EXPORT dsmoe)
