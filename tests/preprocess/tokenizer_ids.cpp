// Prints the token ids of texts, for tools/check_tokenizer.py:
//   tokenizer_ids DIRECTORY [MAX_LENGTH]
// reads a text a line, its bytes in hexadecimal, and prints its ids, or with MAX_LENGTH those of the prompt of that
// length and the number of valid ones behind them.
#include <algorithm>
#include <exception>
#include <iostream>
#include <string>

#include "preprocess/tokenizer.h"

namespace {

std::string from_hexadecimal(const std::string& line) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < line.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(line.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count < 2) {
    std::cerr << "usage: tokenizer_ids DIRECTORY [MAX_LENGTH] <texts\n";
    return 2;
  }
  const auto tokenizer = nervus::Tokenizer::load(arguments[1]);
  const long max_length = count > 2 ? std::stol(arguments[2]) : 0;
  for (std::string line; std::getline(std::cin, line);) {
    const std::string text = from_hexadecimal(line);
    nervus::Prompt prompt;
    if (max_length > 0) prompt = nervus::encode_prompt(tokenizer, text, max_length);
    else prompt.tokens = tokenizer.encode(text);
    for (const auto id : prompt.tokens) std::cout << id << ' ';
    if (max_length > 0) std::cout << std::ranges::count(prompt.valid, 1);
    std::cout << '\n';
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
