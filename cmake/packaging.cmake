# cmake --install: binary, headers, libraries, recipes and a package file for find_package(dsmoe).
include(CMakePackageConfigHelpers)
install(DIRECTORY configs data parallel modules trainer DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dsmoe
        FILES_MATCHING PATTERN "*.h")
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/dsmoe FILES_MATCHING PATTERN "*.yaml")
install(EXPORT dsmoe NAMESPACE dsmoe:: FILE dsmoe-targets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/dsmoe)
configure_package_config_file(cmake/dsmoe-config.cmake.in ${CMAKE_BINARY_DIR}/dsmoe-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/dsmoe)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/dsmoe-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/dsmoe-config.cmake ${CMAKE_BINARY_DIR}/dsmoe-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/dsmoe)
