# Sets PLINTH_HAS_CUDA from the option PLINTH_CUDA and what is installed.

set(PLINTH_HAS_CUDA FALSE)
if(NOT PLINTH_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(PLINTH_HAS_CUDA TRUE)
  elseif(PLINTH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "PLINTH_CUDA=ON, but no CUDA compiler was found: put nvcc on PATH, or set "
                        "CMAKE_CUDA_COMPILER, or configure with PLINTH_CUDA=AUTO or OFF")
  endif()
endif()
if(PLINTH_HAS_CUDA)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real)
  endif()
  # What ptxas says of each kernel is kept beside its object, for scripts/ptxas.py.
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${PROJECT_SOURCE_DIR}/scripts/ptxas_launch.py ${PLINTH_COMPILER_CACHE})
  enable_language(CUDA)
  # CMake 3.25 is older than nvcc's C++20.
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
endif()
message(STATUS "Plinth ${PROJECT_VERSION}: CUDA backend ${PLINTH_HAS_CUDA}, CPU kernels for ${PLINTH_CPU}")
