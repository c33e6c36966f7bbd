#include <cstring>
#include <fstream>
#include <sstream>

#include "extensions.hpp"
#include "scaler/client.hpp"

namespace scaler {
namespace {

using detail::ARRAY;

template <class T>
T number_at(const std::vector<std::uint8_t>& bytes, std::size_t place) {
  if (place + sizeof(T) > bytes.size()) throw Error("an array that ends too early");
  T number;
  std::memcpy(&number, bytes.data() + place, sizeof number);
  return number;
}

}  // namespace

Value array(const void* elements, std::size_t bytes, const std::string& dtype, const std::vector<std::uint64_t>& shape) {
  std::vector<std::uint8_t> content{static_cast<std::uint8_t>(dtype.size())};
  content.insert(content.end(), dtype.begin(), dtype.end());
  content.push_back(static_cast<std::uint8_t>(shape.size()));
  auto add = [&content](const void* from, std::size_t count) {
    auto* begin = static_cast<const std::uint8_t*>(from);
    content.insert(content.end(), begin, begin + count);
  };
  add(shape.data(), shape.size() * sizeof(std::uint64_t));
  add(elements, bytes);
  return Value::binary(std::move(content), ARRAY);
}

Array::Array(const Value& value) {
  if (!value.is_binary() || !value.get_binary().has_subtype() || value.get_binary().subtype() != ARRAY)
    throw Error("the value is no array");
  const auto& content = value.get_binary();
  std::size_t length = number_at<std::uint8_t>(content, 0), place = 1 + length;
  std::size_t rank = number_at<std::uint8_t>(content, place);
  dtype.assign(content.begin() + 1, content.begin() + static_cast<std::ptrdiff_t>(place));
  for (++place; rank; --rank, place += sizeof(std::uint64_t)) shape.push_back(number_at<std::uint64_t>(content, place));
  bytes.assign(content.begin() + static_cast<std::ptrdiff_t>(place), content.end());
}

std::string read_secret(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  std::string text = content.str();
  auto begin = text.find_first_not_of(" \t\n\r\v\f"), end = text.find_last_not_of(" \t\n\r\v\f");
  if (!file || begin == std::string::npos) throw Error("there is no secret in " + path);
  return text.substr(begin, end - begin + 1);
}

}  // namespace scaler
