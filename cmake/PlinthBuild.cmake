# Compiler settings shared by every target, and the two functions that declare targets.

include(GNUInstallDirs)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

# Paths below the source folder are hashed as relative ones, so that every clone finds what another compiled.
find_program(PLINTH_CCACHE ccache)
if(PLINTH_CCACHE)
  set(PLINTH_COMPILER_CACHE ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
      ${PLINTH_CCACHE})
endif()
if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${PLINTH_COMPILER_CACHE})
endif()

add_library(plinth_options INTERFACE)
target_compile_options(plinth_options INTERFACE -Wall -Wextra $<$<BOOL:${PLINTH_WERROR}>:-Werror>)
if(PLINTH_SANITIZE)
  target_compile_options(plinth_options INTERFACE -fsanitize=${PLINTH_SANITIZE}
                         -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(plinth_options INTERFACE -fsanitize=${PLINTH_SANITIZE})
endif()

# plinth_library(<folder> DEPENDS <folders> LINK <imported targets> EXCLUDE <regex>)
# One static library a folder, of every .cpp below it but those that EXCLUDE matches. DEPENDS names the folders that it may
# include; scripts/check_layers.py checks that it includes no other.
function(plinth_library name)
  cmake_parse_arguments(arg "" "EXCLUDE" "DEPENDS;LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  if(arg_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX ${arg_EXCLUDE})
  endif()
  add_library(plinth_${name} STATIC ${sources})
  add_library(Plinth::${name} ALIAS plinth_${name})
  set_target_properties(plinth_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(plinth_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/plinth>)
  target_compile_features(plinth_${name} PUBLIC cxx_std_20)
  target_link_libraries(plinth_${name} PRIVATE $<BUILD_INTERFACE:plinth_options>)
  foreach(dependency IN LISTS arg_DEPENDS)
    target_link_libraries(plinth_${name} PUBLIC plinth_${dependency})
  endforeach()
  target_link_libraries(plinth_${name} PRIVATE ${arg_LINK})
  set_property(GLOBAL APPEND PROPERTY PLINTH_LIBRARIES ${name})
endfunction()

# plinth_emulated(<folder> DEPENDS <folders> LINK <targets> SOURCES <files>)
# For tests: plinth_<folder>_emulated, the same code with the emulator as its CUDA device.
function(plinth_emulated name)
  if(NOT TARGET plinth_emulated_kernels)
    return()
  endif()
  cmake_parse_arguments(arg "" "EXCLUDE" "DEPENDS;LINK;SOURCES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  if(arg_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX ${arg_EXCLUDE})
  endif()
  add_library(plinth_${name}_emulated STATIC EXCLUDE_FROM_ALL ${sources} ${arg_SOURCES})
  target_compile_definitions(plinth_${name}_emulated PUBLIC PLINTH_CUDA_BACKEND PLINTH_EMULATE)
  target_include_directories(plinth_${name}_emulated PUBLIC ${PROJECT_SOURCE_DIR}
                             ${PROJECT_BINARY_DIR}/generated)
  list(TRANSFORM arg_DEPENDS REPLACE "(.+)" "plinth_\\1_emulated")
  target_link_libraries(plinth_${name}_emulated PUBLIC ${arg_DEPENDS} PRIVATE plinth_options ${arg_LINK})
endfunction()

configure_file(${PROJECT_SOURCE_DIR}/cmake/version.h.in ${PROJECT_BINARY_DIR}/generated/core/version.h)
