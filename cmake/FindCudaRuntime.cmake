# CudaRuntime::cudart_static: the CUDA runtime of the nvcc on PATH (or of CudaRuntime_ROOT). CMake's own
# FindCUDAToolkit stops with an error on CUDA 13 in the CMake of Debian 12.

find_program(CudaRuntime_NVCC nvcc PATHS /usr/local/cuda/bin)
get_filename_component(CudaRuntime_nvcc_file "${CudaRuntime_NVCC}" REALPATH)
get_filename_component(CudaRuntime_toolkit "${CudaRuntime_nvcc_file}/../.." ABSOLUTE)
find_path(CudaRuntime_INCLUDE_DIR cuda_runtime.h HINTS ${CudaRuntime_toolkit}
          PATH_SUFFIXES include targets/x86_64-linux/include targets/sbsa-linux/include)
find_library(CudaRuntime_LIBRARY cudart_static HINTS ${CudaRuntime_toolkit}
             PATH_SUFFIXES lib64 lib targets/x86_64-linux/lib targets/sbsa-linux/lib)
mark_as_advanced(CudaRuntime_NVCC CudaRuntime_INCLUDE_DIR CudaRuntime_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CudaRuntime REQUIRED_VARS CudaRuntime_LIBRARY CudaRuntime_INCLUDE_DIR)
if(CudaRuntime_FOUND AND NOT TARGET CudaRuntime::cudart_static)
  find_package(Threads REQUIRED)
  add_library(CudaRuntime::cudart_static UNKNOWN IMPORTED)
  set_target_properties(CudaRuntime::cudart_static PROPERTIES IMPORTED_LOCATION ${CudaRuntime_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${CudaRuntime_INCLUDE_DIR}
                        INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};rt")
endif()
