# dsmoe_floor(NAME LINK lib...): the sources of the current folder as the static library dsmoe_NAME.
function(dsmoe_floor name)
  cmake_parse_arguments(arg "" "" "LINK;PRIVATE_LINK;EXCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cpp)
  foreach(file IN LISTS arg_EXCLUDE)
    list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  endforeach()
  add_library(dsmoe_${name} STATIC ${sources})
  add_library(dsmoe::${name} ALIAS dsmoe_${name})
  set_target_properties(dsmoe_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(dsmoe_${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>
                                                  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/dsmoe>)
  target_link_libraries(dsmoe_${name} PUBLIC ${arg_LINK} PRIVATE ${arg_PRIVATE_LINK})
  if(DSMOE_SANITIZE)
    # What links these libraries needs the sanitizers' own.
    target_link_options(dsmoe_${name} INTERFACE ${DSMOE_SANITIZE_FLAGS})
  endif()
  install(TARGETS dsmoe_${name} EXPORT dsmoe)
endfunction()

# dsmoe_use_torch_header(TARGET): LibTorch's headers, precompiled once with dsmoe_modules, in front of the target's files
# but those in PLAIN, which compile faster without. Not torch/torch.h: g++ instantiates what a precompiled header leaves
# open anew in every file, 7 s with all of it, 4 s with what the model needs.
function(dsmoe_use_torch_header target)
  cmake_parse_arguments(arg "" "" "PLAIN" ${ARGN})
  if(target STREQUAL dsmoe_modules)
    target_precompile_headers(${target} PRIVATE <torch/types.h> <torch/csrc/autograd/custom_function.h>
                              <torch/nn/module.h> <torch/nn/pimpl.h> <torch/nn/modules/container/modulelist.h>)
  else()
    target_precompile_headers(${target} REUSE_FROM dsmoe_modules)
  endif()
  set_source_files_properties(${arg_PLAIN} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
endfunction()
