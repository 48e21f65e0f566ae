#pragma once

// Everything that a program built on Plinth needs.

#include "core/error.h"
#include "core/version.h"
