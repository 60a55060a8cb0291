# What the floors link. LibTorch comes from the PyPI wheel in .venv unless Torch_DIR says otherwise.
if(NOT DEFINED Torch_DIR)
  file(GLOB torch_dirs ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch/share/cmake/Torch)
  list(LENGTH torch_dirs torch_dirs_found)
  if(torch_dirs_found EQUAL 0)
    message(FATAL_ERROR "LibTorch not found: no torch wheel in .venv.\nhint: run scripts/setup, or give -DTorch_DIR=")
  endif()
  list(GET torch_dirs 0 Torch_DIR)
endif()
find_package(Torch REQUIRED)
# An installed dsmoe finds LibTorch where the build found it; CMake itself forgets folders inside the tree.
set(CMAKE_INSTALL_RPATH ${TORCH_INSTALL_PREFIX}/lib)
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
set(DSMOE_BACKENDS "local;mpi" CACHE STRING "How ranks may reach each other; nccl for those on CUDA devices")
if("mpi" IN_LIST DSMOE_BACKENDS)
  find_package(MPI REQUIRED COMPONENTS CXX)
endif()
include(nccl)
find_package(yaml-cpp REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_library(XXHASH_LIBRARY xxhash REQUIRED)
find_library(PCRE2_LIBRARY pcre2-8 REQUIRED)
find_library(JEMALLOC_LIBRARY jemalloc)

# Third-party headers are SYSTEM: their warnings are not ours.
# Without OpenMP's flag ATen's headers compile at::parallel_for as a plain loop. The wheel brings its own runtime:
# linked first, so that no second one is looked for.
add_library(dsmoe_torch INTERFACE)
find_library(TORCH_OPENMP NAMES libgomp.so.1 libomp.so libiomp5.so PATHS ${TORCH_INSTALL_PREFIX}/lib NO_DEFAULT_PATH)
target_compile_options(dsmoe_torch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${OpenMP_CXX_FLAGS}>)
if(TORCH_OPENMP)
  target_link_libraries(dsmoe_torch INTERFACE ${TORCH_LIBRARIES} ${TORCH_OPENMP})
else()
  target_link_libraries(dsmoe_torch INTERFACE ${TORCH_LIBRARIES} OpenMP::OpenMP_CXX)
endif()

# The wheel ships an fmt of its own, newer than the system's spdlog wants; only console.cpp sees spdlog,
# in a target that does not see the wheel's headers.
add_library(dsmoe_spdlog INTERFACE)
target_link_libraries(dsmoe_spdlog INTERFACE spdlog::spdlog)

# The program's heap: see trainer/heap.h. Nothing refers to jemalloc by name, and sanitizers bring a heap of their own.
add_library(dsmoe_heap INTERFACE)
if(JEMALLOC_LIBRARY AND NOT DSMOE_SANITIZE)
  target_link_libraries(dsmoe_heap INTERFACE -Wl,--push-state,--no-as-needed ${JEMALLOC_LIBRARY} -Wl,--pop-state)
else()
  message(STATUS "Heap: the C library's malloc, where a step takes up to a sixth more memory than dsmoe estimates")
endif()

install(TARGETS dsmoe_torch dsmoe_spdlog EXPORT dsmoe)
