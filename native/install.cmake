# cmake --install: the library, the CUDA backend where it was built, the header, and the packages by which CMake and pkg-config
# find them. The installed folder may be moved.
include(CMakePackageConfigHelpers)

set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/AdadeltaNative")
install(
  TARGETS adadelta_native
  EXPORT AdadeltaNativeTargets
  RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  INCLUDES
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(FILES include/adadelta/adadelta.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/adadelta")
if(ADADELTA_CUDA)
  # It is not linked with: the library loads it from its own folder.
  install(
    TARGETS adadelta_native_cuda
    RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()

install(
  EXPORT AdadeltaNativeTargets
  FILE AdadeltaNativeTargets.cmake
  NAMESPACE AdadeltaNative::
  DESTINATION "${package_folder}")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/AdadeltaNativeConfig.cmake.in" AdadeltaNativeConfig.cmake
                              INSTALL_DESTINATION "${package_folder}")
write_basic_package_version_file(AdadeltaNativeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/AdadeltaNativeConfig.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/AdadeltaNativeConfigVersion.cmake" DESTINATION "${package_folder}")

set(pkgconfig_folder "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(pkgconfig_libdir "${CMAKE_INSTALL_FULL_LIBDIR}")
  set(pkgconfig_includedir "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
  file(RELATIVE_PATH up "/${pkgconfig_folder}" "/")
  set(pkgconfig_libdir "\${pcfiledir}/${up}${CMAKE_INSTALL_LIBDIR}")
  set(pkgconfig_includedir "\${pcfiledir}/${up}${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file("${PROJECT_SOURCE_DIR}/cmake/adadelta_native.pc.in" adadelta_native.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/adadelta_native.pc" DESTINATION "${pkgconfig_folder}")
