# A room of the house is a static library `nervus_<name>`; a test executable mirrors each room.

# Errors where the project is developed; a compiler that nobody here has tried may know warnings of its own.
set(developed_with OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(developed_with ON)
endif()
option(NERVUS_WERROR "Treat warnings as errors" ${developed_with})

add_library(nervus_flags INTERFACE)
target_include_directories(nervus_flags INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>)
target_compile_options(nervus_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wno-missing-field-initializers>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${NERVUS_WERROR}>>:-Werror>)
# GCC 12 and 13 see overlaps in inlined std::string assignments that are not there (GCC bug 105651).
target_compile_options(nervus_flags INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict>)
# Clang names what std::stable_sort of GCC's library uses itself.
target_compile_options(nervus_flags INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-deprecated-declarations>)
if(NERVUS_SANITIZE)
  target_compile_options(nervus_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:
    -fsanitize=${NERVUS_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  target_link_options(nervus_flags INTERFACE -fsanitize=${NERVUS_SANITIZE})
endif()

# nervus_compile_quickly(<target>): what does not compute, and with sanitizers would be most of a build's time.
function(nervus_compile_quickly target)
  if(NERVUS_SANITIZE)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-O0>)
  endif()
endfunction()

# nervus_room(<name> SOURCES <file>... [PUBLIC <library>...] [PRIVATE <library>...])
function(nervus_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(nervus_${name} STATIC ${ROOM_SOURCES})
  target_link_libraries(nervus_${name} PUBLIC nervus_flags ${ROOM_PUBLIC} PRIVATE ${ROOM_PRIVATE})
  set_property(GLOBAL APPEND PROPERTY NERVUS_ROOMS nervus_${name})
endfunction()

# nervus_test(<name> SOURCES <file>... LIBRARIES <library>...): an executable test_<name>, run by ctest. It computes on
# all cores or watches the time: where there are two, no other test runs beside it.
function(nervus_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(test_${name} ${TEST_SOURCES} ${PROJECT_SOURCE_DIR}/tests/main.cpp)
  target_link_libraries(test_${name} PRIVATE ${TEST_LIBRARIES} nervus_flags)
  target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(test_${name} PRIVATE NERVUS_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND test_${name})
  set_tests_properties(${name} PROPERTIES PROCESSORS 2)
  # For scripts/package.sh: cmake --install DIR --component tests
  target_link_options(test_${name} PRIVATE -Wl,--disable-new-dtags)
  set_target_properties(test_${name} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib;${NERVUS_CUDA_RPATH}")
  install(TARGETS test_${name} RUNTIME DESTINATION bin COMPONENT tests EXCLUDE_FROM_ALL OPTIONAL)
endfunction()
