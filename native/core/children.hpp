// What an object made, so that it can close it before itself.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

namespace kvmtdx {

/** Weak: a child that nobody else holds is gone already. Used on the owner's thread only. */
template <typename T>
class Children {
 public:
  void Add(const std::shared_ptr<T>& child) {
    // Pruned when the list has doubled, so that a million short-lived children cost little each.
    if (list_.size() >= prune_at_) {
      std::erase_if(list_, [](const auto& weak) { return weak.expired(); });
      prune_at_ = std::max<std::size_t>(16, list_.size() * 2);
    }
    list_.push_back(child);
  }

  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& weak : list_) {
      if (const auto child = weak.lock()) visit(*child);
    }
  }

  void CloseAll() noexcept {
    ForEach([](T& child) { child.Close(); });
    list_.clear();
  }

 private:
  std::vector<std::weak_ptr<T>> list_;
  std::size_t prune_at_ = 16;
};

}  // namespace kvmtdx
