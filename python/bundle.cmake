# Copies a library, and those that it needs but not every machine has, beside the module. Runs when the package is
# installed into its wheel.
#
#   nervus_library   the library's file
#   nervus_name      the name that programs look for
#   nervus_strip     the program that strips symbols
#   nervus_licences  scripts/licences.sh and its options
#   nervus_compiled  files of what is compiled in, whose licences go into the package as well
# What every Linux that runs wheels has: the C and C++ libraries and zlib. CUDA's are the machine's own.
set(assumed "^ld-linux" "^lib(c|m|dl|rt|pthread|resolv|util|gcc_s|stdc\\+\\+|z)\\.so" "^libcu(da|blas|blasLt)\\.so")
set(directory "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")

file(GET_RUNTIME_DEPENDENCIES LIBRARIES "${nervus_library}" PRE_EXCLUDE_REGEXES ${assumed}
  RESOLVED_DEPENDENCIES_VAR needed)
foreach(library IN LISTS needed)
  get_filename_component(name "${library}" NAME)
  file(REAL_PATH "${library}" real)
  message(STATUS "Bundling: ${name} of ${real}")
  file(COPY_FILE "${real}" "${directory}/${name}")
  list(APPEND foreign "${library}")
endforeach()
list(POP_FRONT nervus_licences script)
execute_process(COMMAND "${script}" "${directory}/licenses" ${nervus_licences} ${foreign} ${nervus_compiled}
  RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "the package cannot be made without the licences of what it holds: see above")
endif()
file(REAL_PATH "${nervus_library}" real)
file(COPY_FILE "${real}" "${directory}/${nervus_name}")
execute_process(COMMAND "${nervus_strip}" "${directory}/${nervus_name}" COMMAND_ERROR_IS_FATAL ANY)
