# Language, warnings, ccache and mold: everything about how a file is compiled.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(CCACHE ccache)
if(CCACHE)
  # A precompiled header is cacheable only with these sloppiness flags and -fpch-preprocess.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
  add_compile_options(-fpch-preprocess)
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# Not -Wnull-dereference: g++ reports it inside LibTorch's inlined headers, which SYSTEM cannot hide.
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
                    -Wnon-virtual-dtor -Woverloaded-virtual -Wduplicated-cond -Wlogical-op
                    -Wformat=2)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # g++ 12 reports string concatenation at -O3: GCC bug 105651.
  add_compile_options(-Wno-restrict -Wno-stringop-overflow -Wno-array-bounds)
endif()
if(DSMOE_WERROR)
  add_compile_options(-Werror)
endif()
if(DSMOE_SANITIZE)
  # With sanitizers g++ takes the standard library's own temporaries for uninitialised.
  set(DSMOE_SANITIZE_FLAGS -fsanitize=address,undefined)
  add_compile_options(${DSMOE_SANITIZE_FLAGS} -fno-omit-frame-pointer -Wno-maybe-uninitialized)
  add_link_options(${DSMOE_SANITIZE_FLAGS})
endif()
