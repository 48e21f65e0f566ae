#include <plinth.h>

#include <cstring>
#include <iostream>

// Succeeds if the installed headers, libraries and version belong together.
int main() {
  try {
    plinth::check(false, plinth::ErrorKind::Argument, "consumer", "version ", PLINTH_VERSION);
  } catch (const plinth::Error& error) {
    std::cout << error.what() << "\n";
    return std::strcmp(error.what(), "consumer: version " PLINTH_VERSION) == 0 ? 0 : 1;
  }
  return 1;
}
