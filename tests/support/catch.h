#pragma once

// Debian 12 has Catch2 v2, Ubuntu 24.04 has v3.
#ifdef DSMOE_CATCH2_V3
#include <catch2/catch_all.hpp>
using Catch::Approx;
using Catch::Matchers::Contains;
#else
#include <catch2/catch.hpp>
#endif
