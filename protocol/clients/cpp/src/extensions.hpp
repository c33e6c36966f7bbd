// The extension types of MessagePack that protocol/README.md names.
#pragma once

namespace scaler::detail {

constexpr int ARRAY = 1, INPUT = 2, OBJECT = 3;

}  // namespace scaler::detail
