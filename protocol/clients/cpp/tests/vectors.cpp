// Holds the frames of protocol/vectors against this implementation: vectors DIRECTORY. Ends with exit code 0 if all mean the same.
#include <capnp/dynamic.h>
#include <capnp/schema.h>
#include <openssl/evp.h>

#include <cmath>
#include <fstream>
#include <iostream>
#include <map>

#include "client.capnp.h"
#include "connection.hpp"
#include "executor.capnp.h"
#include "extensions.hpp"
#include "host.capnp.h"
#include "manager.capnp.h"
#include "monitor.capnp.h"
#include "scaler/client.hpp"
#include "storage.capnp.h"
#include "task.capnp.h"
#include "worker.capnp.h"

namespace {

using capnp::DynamicStruct;
using capnp::DynamicValue;
using scaler::Value;
using namespace scaler::detail;  // NOLINT
namespace wire = scaler::wire;

int checked = 0, wrong = 0;

void expect(bool good, const Value& vector, const std::string& what) {
  ++checked;
  if (good) return;
  ++wrong;
  std::cout << "WRONG: " << vector["name"] << ": " << what << std::endl;
}

std::string unhex(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) bytes += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  return bytes;
}

template <class Bytes>
std::string hex(const Bytes& bytes) {
  std::string text;
  for (unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

// What a message means, as the vectors have it.
Value meaning(DynamicStruct::Reader message);

Value meaning(DynamicValue::Reader value, capnp::Type type) {
  switch (value.getType()) {
    case DynamicValue::BOOL:
      return value.as<bool>();
    case DynamicValue::INT:
    case DynamicValue::UINT:
      if (type.isUInt64()) return std::to_string(value.as<std::uint64_t>());
      if (type.isInt64()) return std::to_string(value.as<std::int64_t>());
      return value.as<std::int64_t>();
    case DynamicValue::FLOAT:
      return value.as<double>();
    case DynamicValue::ENUM:
      return value.as<capnp::DynamicEnum>().getRaw();
    case DynamicValue::TEXT:
      return std::string(value.as<capnp::Text>().begin(), value.as<capnp::Text>().size());
    case DynamicValue::DATA:
      return hex(value.as<capnp::Data>());
    case DynamicValue::LIST: {
      auto entries = Value::array();
      for (auto entry : value.as<capnp::DynamicList>()) entries.push_back(meaning(entry, type.asList().getElementType()));
      return entries;
    }
    case DynamicValue::STRUCT:
      return meaning(value.as<DynamicStruct>());
    default:
      return nullptr;
  }
}

Value meaning(DynamicStruct::Reader message) {
  auto fields = Value::object();
  for (auto field : message.getSchema().getNonUnionFields())
    fields[field.getProto().getName().cStr()] = meaning(message.get(field), field.getType());
  KJ_IF_MAYBE (arm, message.which())
    fields[arm->getProto().getName().cStr()] = meaning(message.get(*arm), arm->getType());
  else if (message.getSchema().getUnionFields().size())
    throw scaler::Error("an arm that nobody knows");
  return fields;
}

capnp::StructSchema schema_of(const std::string& name) {
  static const std::map<std::string, capnp::StructSchema> known = {
      {"Handshake", capnp::Schema::from<wire::Handshake>()},
      {"ClientToScheduler", capnp::Schema::from<wire::ClientToScheduler>()},
      {"SchedulerToClient", capnp::Schema::from<wire::SchedulerToClient>()},
      {"ToStorage", capnp::Schema::from<wire::ToStorage>()},
      {"FromStorage", capnp::Schema::from<wire::FromStorage>()},
      {"WorkerToScheduler", capnp::Schema::from<wire::WorkerToScheduler>()},
      {"SchedulerToWorker", capnp::Schema::from<wire::SchedulerToWorker>()},
      {"ManagerToScheduler", capnp::Schema::from<wire::ManagerToScheduler>()},
      {"SchedulerToManager", capnp::Schema::from<wire::SchedulerToManager>()},
      {"MonitorToScheduler", capnp::Schema::from<wire::MonitorToScheduler>()},
      {"SchedulerToMonitor", capnp::Schema::from<wire::SchedulerToMonitor>()},
      {"HostToStorage", capnp::Schema::from<wire::HostToStorage>()},
      {"StorageToHost", capnp::Schema::from<wire::StorageToHost>()},
      {"WorkerToForkServer", capnp::Schema::from<wire::WorkerToForkServer>()},
      {"ForkServerToWorker", capnp::Schema::from<wire::ForkServerToWorker>()},
      {"WorkerToExecutor", capnp::Schema::from<wire::WorkerToExecutor>()},
      {"ExecutorToWorker", capnp::Schema::from<wire::ExecutorToWorker>()},
      {"Failure", capnp::Schema::from<wire::Failure>()},
  };
  return known.at(name);
}

Frame words_of(std::string_view message) {
  Frame frame;
  frame.words = kj::heapArray<capnp::word>(message.size() / sizeof(capnp::word));
  std::memcpy(frame.words.begin(), message.data(), message.size());
  return frame;
}

// What a whole frame says, and its attachment. Throws what is wrong with it.
std::pair<Value, std::string> said(const std::string& frame, const std::string& name) {
  auto header = Header::read(reinterpret_cast<const unsigned char*>(frame.data()), name == "Handshake");
  if (frame.size() < 8 + std::size_t{header.message_bytes} + header.attachment_bytes) throw scaler::Error("a frame that ends");
  auto words = words_of(std::string_view(frame).substr(8, header.message_bytes));
  capnp::FlatArrayMessageReader reader(words.words, words.limits());
  auto found = meaning(reader.getRoot<DynamicStruct>(schema_of(name)));
  if (found.contains("unspecified")) throw scaler::Error("the arm unspecified");
  return {found, frame.substr(8 + header.message_bytes)};
}

// ---- values

std::string base64(const std::uint8_t* bytes, std::size_t size) {
  std::string text((size + 2) / 3 * 4 + 1, '\0');
  text.resize(static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes, static_cast<int>(size))));
  return text;
}

Value as_json(const Value& value) {
  if (value.is_binary()) {
    const auto& bytes = value.get_binary();
    if (!bytes.has_subtype()) return {{"$bytes", base64(bytes.data(), bytes.size())}};
    if (bytes.subtype() == INPUT) return {{"$input", bytes[0]}};
    if (bytes.subtype() == OBJECT) return {{"$object", hex(bytes).substr(0, 32)}};
    scaler::Array array(value);
    Value told = {{"dtype", array.dtype}, {"shape", array.shape}, {"data", base64(array.bytes.data(), array.bytes.size())}};
    return {{"$array", told}};
  }
  if (value.is_number_float() && std::isinf(value.get<double>())) return {{"$float", value > 0 ? "inf" : "-inf"}};
  if (!value.is_structured()) return value;
  Value found = value;
  for (auto& part : found) part = as_json(part);
  if (found.is_object() && found.size() == 1 && found.begin().key()[0] == '$') return {{"$plain", found}};
  return found;
}

}  // namespace

int main(int, char** arguments) {
  auto load = [&](const std::string& name) { return Value::parse(std::ifstream(std::string(arguments[1]) + "/" + name + ".json")); };
  for (std::string file : {"handshake", "client", "storage", "worker", "manager", "monitor", "host", "executor", "newer", "older"})
    for (const auto& vector : load(file)) {
      auto [found, attachment] = said(unhex(vector["frame"]), vector["union"]);
      expect(found == vector["says"], vector, found.dump());
      expect(hex(attachment) == vector.value("attachment", ""), vector, "its attachment");
    }
  for (const auto& vector : load("refused")) {
    try {
      said(unhex(vector["frame"]), vector["union"]);
      expect(false, vector, "it was taken");
    } catch (const std::exception&) {
      expect(true, vector, "");
    }
  }
  for (const auto& vector : load("failure")) {
    auto words = words_of(unhex(vector["message"]));
    capnp::FlatArrayMessageReader reader(words.words, words.limits());
    auto found = meaning(reader.getRoot<DynamicStruct>(schema_of("Failure")));
    expect(found == vector["says"], vector, found.dump());
  }
  for (const auto& vector : load("values")) {
    auto found = as_json(Value::from_msgpack(unhex(vector["msgpack"])));
    expect(found == vector["json"], vector, found.dump());
  }
  // The proofs of the handshake.
  std::map<std::string, Value> by_name;
  for (const auto& vector : load("handshake")) by_name[vector["name"]] = vector;
  auto words = words_of(unhex(by_name["hello with a secret"]["frame"]).substr(8));
  capnp::FlatArrayMessageReader reader(words.words, words.limits());
  auto hello = reader.getRoot<wire::Handshake>().getHello();
  auto nonce = unhex(by_name["challenge"]["says"]["challenge"]["nonce"]);
  auto told = by_name["welcome with a proof"]["says"]["welcome"];
  std::string secret = "0123456789abcdef", more{"\1\0", 2};
  expect(hex(mac(secret, "scaler dialer", hello, nonce)) == by_name["proof"]["says"]["proof"]["mac"], by_name["proof"], "its mac");
  auto proof = mac(secret, "scaler listener", hello, nonce, more + unhex(told["identity"]));
  expect(hex(proof) == told["mac"], by_name["welcome with a proof"], "its mac");
  // With TLS its channel comes last.
  std::string channel(32, 'c');
  proof = mac(secret, "scaler dialer", hello, nonce, channel);
  expect(hex(proof) == by_name["proof by TLS"]["says"]["proof"]["mac"], by_name["proof by TLS"], "its mac");
  proof = mac(secret, "scaler listener", hello, nonce, more + unhex(told["identity"]) + channel);
  auto by_tls = by_name["welcome with a proof by TLS"];
  expect(hex(proof) == by_tls["says"]["welcome"]["mac"], by_tls, "its mac");
  std::cout << checked << " checked, " << wrong << " wrong" << std::endl;
  return wrong ? 1 : 0;
}
