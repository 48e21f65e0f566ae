# `cmake --install` and the package that find_package(Plinth) reads.

include(CMakePackageConfigHelpers)

add_library(plinth INTERFACE)
add_library(Plinth::plinth ALIAS plinth)
get_property(folders GLOBAL PROPERTY PLINTH_LIBRARIES)
foreach(folder IN LISTS folders)
  target_link_libraries(plinth INTERFACE plinth_${folder})
  list(APPEND targets plinth_${folder})
  install(DIRECTORY ${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/plinth FILES_MATCHING
          PATTERN "*.h" PATTERN "*.cuh")
endforeach()
if(TARGET plinth_kernels_cuda)
  list(APPEND targets plinth_kernels_cuda)
endif()
install(TARGETS plinth_kernels_c EXPORT PlinthTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${PROJECT_BINARY_DIR}/generated/core/version.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/plinth/core)
install(FILES plinth.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/plinth)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Plinth)
install(TARGETS plinth ${targets} EXPORT PlinthTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT PlinthTargets NAMESPACE Plinth:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/PlinthConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/PlinthConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/PlinthConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/PlinthConfig.cmake ${PROJECT_BINARY_DIR}/PlinthConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindPCRE2.cmake ${PROJECT_SOURCE_DIR}/cmake/FindCudaRuntime.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindSndFile.cmake ${PROJECT_SOURCE_DIR}/cmake/FindSampleRate.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindTurboJPEG.cmake ${PROJECT_SOURCE_DIR}/cmake/FindSentencePiece.cmake
        DESTINATION ${package_dir})
