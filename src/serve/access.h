// Who may speak to the server: the key of a request, and the web page that it comes from. Knows no socket.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nervus::serve {

// Whether an Authorization header carries the key: "Api-Key KEY", "Bearer KEY", or, as browsers send it, "Basic" with
// any name and KEY as the password. Takes as long for every key of the same length.
bool carries_key(std::string_view authorization, std::string_view key);

// What a 401 asks for: a header each. The first is what makes a browser ask its user.
inline constexpr const char* challenges[] = {"Basic realm=\"nervus\", charset=\"UTF-8\"", "Bearer"};

// Whether a web page of this origin may open a websocket. "": no browser sent it.
bool is_allowed_origin(std::string_view origin, const std::vector<std::string>& allowed);

// Whether an address is this machine by itself: localhost, 127.0.0.0/8 or ::1.
bool is_loopback(std::string_view address);

// The same of a Host header, with a port or without. A browser that a page has led here by a name of its own (DNS
// rebinding) says that name.
bool names_loopback(std::string_view host);

}  // namespace nervus::serve
