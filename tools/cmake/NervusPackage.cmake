# What is installed: the shared library assembled from the rooms, its headers and CMake package, the program with its
# completions, and the licence. Included after all rooms and the program are defined.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Every room's objects, not only those that something refers to. The rooms are linked once more for the libraries
# they need; those stay private, so that a user's project needs none of them.
get_property(rooms GLOBAL PROPERTY NERVUS_ROOMS)
add_library(nervus_shared SHARED)
foreach(room IN LISTS rooms)
  target_sources(nervus_shared PRIVATE $<TARGET_OBJECTS:${room}>)
  target_link_libraries(nervus_shared PRIVATE $<BUILD_INTERFACE:${room}>)
endforeach()
# Only what include/nervus declares is visible; templates of third parties that the rooms instantiate are not.
set(exports ${PROJECT_SOURCE_DIR}/tools/cmake/exports.map)
target_link_options(nervus_shared PRIVATE -Wl,--version-script=${exports})
if(NOT NERVUS_SANITIZE)
  target_link_options(nervus_shared PRIVATE -Wl,-z,defs)
endif()
set_target_properties(nervus_shared PROPERTIES
  OUTPUT_NAME nervus EXPORT_NAME nervus LINK_DEPENDS ${exports}
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
# Where a folder or a wheel holds what the library needs, it lies beside it. Not RUNPATH, which hides the loader's own.
set_target_properties(nervus_shared PROPERTIES INSTALL_RPATH "$ORIGIN;${NERVUS_CUDA_RPATH}")
target_link_options(nervus_shared PRIVATE -Wl,--disable-new-dtags)
target_compile_features(nervus_shared INTERFACE cxx_std_20)
target_include_directories(nervus_shared INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
add_library(nervus::nervus ALIAS nervus_shared)

set(package_directory ${CMAKE_INSTALL_LIBDIR}/cmake/nervus)
install(TARGETS nervus_shared EXPORT nervusTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/nervus DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN *.h)
install(EXPORT nervusTargets NAMESPACE nervus:: DESTINATION ${package_directory})
configure_package_config_file(${PROJECT_SOURCE_DIR}/tools/cmake/nervusConfig.cmake.in
  ${PROJECT_BINARY_DIR}/nervusConfig.cmake INSTALL_DESTINATION ${package_directory})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/nervusConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/nervusConfig.cmake ${PROJECT_BINARY_DIR}/nervusConfigVersion.cmake
  DESTINATION ${package_directory})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The program finds the library beside it, wherever the installation is moved.
file(RELATIVE_PATH library_from_program ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(nervus_cli PROPERTIES INSTALL_RPATH $ORIGIN/${library_from_program})
# Not RUNPATH: scripts/package.sh puts libraries there that need each other.
target_link_options(nervus_cli PRIVATE -Wl,--disable-new-dtags)
install(TARGETS nervus_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# Completions are printed by the program itself.
foreach(completion bash:nervus.bash zsh:_nervus fish:nervus.fish)
  string(REPLACE ":" ";" completion ${completion})
  list(GET completion 0 shell)
  list(GET completion 1 file)
  set(file ${PROJECT_BINARY_DIR}/completions/${file})
  add_custom_command(OUTPUT ${file} DEPENDS nervus_cli
    COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/completions
    COMMAND nervus_cli completion ${shell} > ${file})
  list(APPEND completions ${file})
endforeach()
add_custom_target(nervus_completions ALL DEPENDS ${completions})
install(FILES ${PROJECT_BINARY_DIR}/completions/nervus.bash
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME nervus)
install(FILES ${PROJECT_BINARY_DIR}/completions/_nervus DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${PROJECT_BINARY_DIR}/completions/nervus.fish
  DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
