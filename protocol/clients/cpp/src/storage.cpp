#include "storage.hpp"

#include <cstring>

#include "scaler/client.hpp"
#include "storage.capnp.h"

namespace scaler::detail {
namespace {

capnp::Data::Reader data_of(std::string_view bytes) {
  return {reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()};
}

[[noreturn]] void fail(wire::StorageFailure::Reader failure) {
  std::string text(failure.getText().begin(), failure.getText().size());
  auto reason = failure.getReason();
  if (reason == wire::StorageFailureReason::FREED || reason == wire::StorageFailureReason::LOST) throw ObjectLost(text);
  throw Error(text);
}

}  // namespace

template <class Work>
auto Storage::with_connection(Work work) {
  std::lock_guard guard(mutex_);
  auto use = [this](std::unique_ptr<Connection> connection) {
    std::lock_guard leaving(leaving_);
    connection_ = std::move(connection);
    if (closed_) throw Error("the client has left");
  };
  for (bool again = connection_ != nullptr;; again = false) {
    try {
      if (!connection_)
        use(std::make_unique<Connection>(address_, wire::Role::STORAGE_USER, random_bytes(ID_BYTES), options_));
      return work(*connection_, ++request_);
    } catch (const ConnectionLost&) {
      use(nullptr);
      if (!again) throw;
    } catch (const ObjectLost&) {
      throw;
    } catch (...) {
      std::lock_guard leaving(leaving_);
      connection_.reset();  // Something is half said.
      throw;
    }
  }
}

void Storage::put(const std::string& id, std::string_view content) {
  with_connection([&](Connection& connection, std::uint64_t request) {
    std::size_t offset = 0;
    do {
      auto part = content.substr(offset, MAX_ATTACHMENT_BYTES);
      capnp::MallocMessageBuilder said;
      auto put = said.initRoot<wire::ToStorage>().initPut();
      put.setRequest(request);
      put.setObject(data_of(id));
      put.setOwner(data_of(owner_));
      put.setTotalBytes(content.size());
      put.setOffset(offset);
      connection.write(said, part);
      offset += part.size();
    } while (offset < content.size());
    while (true) {
      Frame frame = connection.read();
      capnp::FlatArrayMessageReader reader(frame.words, frame.limits());
      auto answer = reader.getRoot<wire::FromStorage>();
      if (answer.isFailed() && answer.getFailed().getRequest() == request) fail(answer.getFailed());
      if (answer.isStored() && answer.getStored().getRequest() == request) return;
    }
  });
}

std::string Storage::get(const std::string& id) {
  return with_connection([&](Connection& connection, std::uint64_t request) {
    capnp::MallocMessageBuilder said;
    auto get = said.initRoot<wire::ToStorage>().initGet();
    get.setRequest(request);
    get.setObject(data_of(id));
    get.setExisted(true);
    connection.write(said);
    std::string content;
    while (true) {
      Frame frame = connection.read();
      capnp::FlatArrayMessageReader reader(frame.words, frame.limits());
      auto answer = reader.getRoot<wire::FromStorage>();
      if (answer.isFailed() && answer.getFailed().getRequest() == request) fail(answer.getFailed());
      if (!answer.isChunk() || answer.getChunk().getRequest() != request) continue;
      if (answer.getChunk().getOffset() != content.size()) throw Error("a part of an object is missing");
      content += frame.attachment;
      if (content.size() >= answer.getChunk().getTotalBytes()) return content;
    }
  });
}

void Storage::close() {
  std::lock_guard leaving(leaving_);
  closed_ = true;
  if (connection_) connection_->shut_down();
}

void Storage::release(const std::string& id) noexcept {
  try {
    with_connection([&](Connection& connection, std::uint64_t) {
      capnp::MallocMessageBuilder said;
      auto release = said.initRoot<wire::ToStorage>().initRelease();
      release.setObjects(data_of(id));
      release.setOwner(data_of(owner_));
      connection.write(said);
    });
  } catch (...) {  // NOLINT: the scheduler frees what is left when this client has gone.
  }
}

}  // namespace scaler::detail
