// The edge: HTTP and websocket that are malformed or unwelcome, each with its outcome.
#include <doctest/doctest.h>

#include "serve/fake.h"

using namespace nervus;
using namespace nervus::test;
using namespace std::string_literals;

namespace {

const std::string host = "Host: localhost:8000\r\n";

std::string upgrade(const std::string& version, const std::string& key, const std::string& path = "/") {
  return "GET " + path + " HTTP/1.1\r\n" + host + "Upgrade: websocket\r\nConnection: Upgrade\r\n" + version + key +
         "\r\n";
}
const std::string version13 = "Sec-WebSocket-Version: 13\r\n";
const std::string key16 = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

}  // namespace

TEST_CASE("HTTP: a server of this machine alone tells nothing to who was led here by another name") {
  const auto status = [](const FakeServer& server, const std::string& path, const std::string& name) {
    const std::string line = name.empty() ? "" : "Host: " + name + "\r\n";
    return Peer(server.port())
        .http("GET " + path + (line.empty() ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n") + line + "\r\n")
        .substr(9, 3);
  };
  const FakeServer open;
  for (const char* name :
       {"localhost", "localhost:8000", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8000", "::1", ""}) {
    CAPTURE(name);
    CHECK(status(open, "/status", name) == "200");
  }
  for (const char* name : {"evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
                           "127.evil", "10.0.0.1", "[::2]", "[::1].evil", "robot"}) {
    CAPTURE(name);
    CHECK(status(open, "/status", name) == "403");
    CHECK(status(open, "/", name) == "403");
    CHECK(status(open, "/healthz", name) == "200");
  }
  CHECK(open.metric("nervus_connections_total", "outcome=\"origin\"") == 18);
  serve::ServiceOptions elsewhere;
  elsewhere.network.host = "0.0.0.0";
  CHECK(status(FakeServer({}, elsewhere), "/status", "robot") == "200");
}

TEST_CASE("HTTP: each request has its status") {
  const FakeServer server;
  struct Case {
    std::string request;
    std::string status;
  };
  for (const auto& [request, status] : std::vector<Case>{
           {"GET /healthz HTTP/1.1\r\n" + host + "\r\n", "200"},
           {"GET /healthz HTTP/1.0\r\n\r\n", "200"},
           {"GET /healthz?x=1 HTTP/1.1\r\n" + host + "\r\n", "200"},
           {"HEAD /healthz HTTP/1.1\r\n" + host + "\r\n", "200"},
           {"GET / HTTP/1.1\r\n" + host + "\r\n", "200"},
           {"GET /metrics HTTP/1.1\r\n" + host + "\r\n", "200"},
           {"GET /healthz HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n", "200"},
           {"\r\nGET /healthz HTTP/1.1\r\n" + host + "\r\n", "400"},
           {"GET /no HTTP/1.1\r\n" + host + "\r\n", "404"},
           {"GET /../etc/passwd HTTP/1.1\r\n" + host + "\r\n", "404"},
           {"GET /%2e%2e/etc HTTP/1.1\r\n" + host + "\r\n", "404"},
           {"GET //healthz HTTP/1.1\r\n" + host + "\r\n", "404"},
           {"GET http://robot/healthz HTTP/1.1\r\n" + host + "\r\n", "404"},
           {"POST /healthz HTTP/1.1\r\n" + host + "\r\n", "405"},
           {"PUT / HTTP/1.1\r\n" + host + "\r\n", "405"},
           {"DELETE / HTTP/1.1\r\n" + host + "\r\n", "405"},
           {"OPTIONS * HTTP/1.1\r\n" + host + "\r\n", "405"},
           {"TRACE / HTTP/1.1\r\n" + host + "\r\n", "405"},
           {"BREW / HTTP/1.1\r\n" + host + "\r\n", "405"},
           {"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello", "413"},
           {"GET / HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551615\r\n\r\n", "413"},
           {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "413"},
           {"GET / HTTP/1.1\r\n" + host + "X: " + std::string(9000, 'a') + "\r\n\r\n", "431"},
           {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n" + host + "\r\n", "431"},
           {"GET / HTTP/1.1\r\n" + host + "Content-Length: x\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999999\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
           {"GET / HTTP/2.0\r\n" + host + "\r\n", "400"},
           {"GET / HTTP/1.1x\r\n" + host + "\r\n", "400"},
           {"GET / HTP/1.1\r\n" + host + "\r\n", "400"},
           {"GET /\r\n\r\n", "400"},
           {"GET\r\n\r\n", "400"},
           {" GET / HTTP/1.1\r\n\r\n", "400"},
           {"G\x01T / HTTP/1.1\r\n\r\n", "400"},
           {"GET /\x01 HTTP/1.1\r\n\r\n", "400"},
           {"GET / HTTP/1.1\n" + host + "\n", "400"},
           {"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\n: no name\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\nX: a\x01\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n"s, "400"},
           {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, "400"},  // TLS
           {"\x80\x01\x02\x03", "400"},
           {"\0\0\0\0\r\n\r\n"s, "400"},
       }) {
    CAPTURE(request.substr(0, 60));
    CHECK(Peer(server.port()).http(request).substr(0, 12) == "HTTP/1.1 " + status);
  }
  CHECK(server.get("/healthz") == "200 OK\n");
}

TEST_CASE("HTTP: what does not end in time is closed without an answer") {
  serve::ServiceOptions options;
  options.network.handshake = std::chrono::milliseconds(300);
  const FakeServer server({}, options);
  const double before = server.metric("nervus_connections_total", "outcome=\"timeout\"");
  for (const std::string& request : {std::string(), std::string("GET / HT"), "GET / HTTP/1.1\r\n" + host})
    CHECK(Peer(server.port()).http(request).empty());
  // It is counted behind the end that the peer sees.
  CHECK(eventually([&] { return server.metric("nervus_connections_total", "outcome=\"timeout\"") == before + 3; }));
}

TEST_CASE("handshakes: each has its status") {
  serve::ServiceOptions options;
  options.network.origins = {"http://robot:8080"};
  FakeServer server({}, options);
  for (const auto& [request, status] : std::vector<std::pair<std::string, std::string>>{
           {upgrade(version13, key16), "101"},
           {upgrade("Sec-WebSocket-Version: 8\r\n", key16), "426"},
           {upgrade("", key16), "400"},
           {upgrade("Sec-WebSocket-Version: x\r\n", key16), "426"},
           {upgrade(version13, ""), "400"},
           {upgrade(version13, "Sec-WebSocket-Key: " + std::string(200, 'a') + "\r\n"), "400"},
           {"GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + version13 + key16 + "\r\n", "200"},
           {"POST / HTTP/1.1\r\n" + host + "Upgrade: websocket\r\nConnection: Upgrade\r\n" + version13 + key16 + "\r\n",
            "405"},
           {"GET / HTTP/1.1\r\n" + host + "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "200"},
           {"GET / HTTP/1.1\r\n" + host + "Upgrade: websocket\r\n" + version13 + key16 + "\r\n", "200"},
           {"GET / HTTP/1.1\r\n" + host + "Connection: Upgrade\r\n" + version13 + key16 + "\r\n", "200"},
           {"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + version13 + key16 + "\r\n", "400"},
           {upgrade(version13, key16 + "Origin: http://evil\r\n"), "403"},
           {upgrade(version13, key16 + "Origin: null\r\n"), "403"},
           {upgrade(version13, key16 + "Origin: http://robot:8080\r\n"), "101"},
           // A browser that knows a key sends it for whichever page asks: the page is asked about, too.
           {upgrade(version13, key16 + "Origin: http://evil\r\nAuthorization: Basic bmFtZTprZXk=\r\n"), "403"},
           {upgrade(version13, key16) + Peer::frame(0x82, "early"), "400"},
       }) {
    CAPTURE(request);
    Peer peer(server.port());
    CHECK(peer.http(request).substr(0, 12) == "HTTP/1.1 " + status);
  }
}

TEST_CASE("a key: without it nothing but health is told") {
  serve::ServiceOptions options;
  options.network.api_key = "a long secret";
  FakeServer server({}, options);
  CHECK(server.get("/healthz") == "200 OK\n");
  CHECK(server.get("/readyz") == "200 ready\n");
  for (const char* path : {"/", "/metrics", "/status", "/nothing"}) CHECK(server.get(path).starts_with("401 "));
  for (const auto& [header, status] : std::vector<std::pair<std::string, std::string>>{
           {"", "401"},
           {"Authorization: Api-Key a long secret\r\n", "101"},
           {"Authorization: Bearer a long secret\r\n", "101"},
           {"Authorization: Bearer a long secre\r\n", "401"},
           {"Authorization: Bearer a long secrets\r\n", "401"},
           {"Authorization: Bearer a long secreta long secret\r\n", "401"},
           {"Authorization: Bearer \r\n", "401"},
           {"Authorization: bearer  a long secret\r\n", "101"},
           {"Authorization: Bearer\r\n", "401"},
           {"Authorization: Bearera long secret\r\n", "401"},
           {"Authorization: a long secret\r\n", "401"},
           // A browser's: any name, and the key as the password.
           {"Authorization: Basic bmFtZTphIGxvbmcgc2VjcmV0\r\n", "101"},      // name:a long secret
           {"Authorization: basic OmEgbG9uZyBzZWNyZXQ=\r\n", "101"},          // :a long secret
           {"Authorization: Basic bmFtZXM6YSBsb25nIHNlY3JldA==\r\n", "101"},  // names:a long secret
           {"Authorization: Basic bmFtZTphIGxvbmcgc2VjcmU=\r\n", "401"},      // name:a long secre
           {"Authorization: Basic bmFtZTphIGxvbmcgc2VjcmV0cw==\r\n", "401"},  // name:a long secrets
           {"Authorization: Basic bmFtZTp4OmEgbG9uZyBzZWNyZXQ=\r\n", "401"},  // name:x:a long secret
           {"Authorization: Basic YSBsb25nIHNlY3JldA==\r\n", "401"},          // a long secret
           {"Authorization: Basic YSBsb25nIHNlY3JldDp4\r\n", "401"},          // a long secret:x
           {"Authorization: Basic bmFtZTo=\r\n", "401"},                      // name:
           {"Authorization: Basic OmEgbG9uZyBzZWNyZXQ\r\n", "401"},           // without its padding
           {"Authorization: Basic OmEgbG9uZyBzZWNyZXQ==\r\n", "401"},         // with too much
           {"Authorization: Basic AAAAOmEgbG9uZyBzZWNyZXQ=\r\n", "101"},
           {"Authorization: Basic A===OmEgbG9uZyBzZWNyZXQ=\r\n", "401"},  // with some within
           {"Authorization: Basic OmEgbG9uZyBz!WNyZXQ=\r\n", "401"},
           {"Authorization: Basic \xff\x80mEgbG9uZyBzZWNyZXQ\r\n", "401"},
           {"Authorization: Basic ====\r\n", "401"},
           {"Authorization: Basic \r\n", "401"},
           {"Authorization: Basic a long secret\r\n", "401"},
           {"Authorization: Basic " + std::string(7900, 'A') + "\r\n", "401"},
       }) {
    CAPTURE(header);
    CHECK(Peer(server.port()).handshake(header).substr(9, 3) == status);
  }
  // What is public to ask is no way in.
  for (const char* path : {"/healthz", "/livez", "/readyz", "/readyz?x=1", "/nothing"}) {
    CAPTURE(path);
    CHECK(Peer(server.port()).http(upgrade(version13, key16, path)).substr(9, 3) == "401");
  }
  // Both are asked for, each in a header of its own: a browser asks its user for the first that it knows.
  const std::string refused = Peer(server.port()).http("GET / HTTP/1.1\r\n" + host + "\r\n");
  CHECK(refused.find("\r\nWWW-Authenticate: Basic realm=\"nervus\", charset=\"UTF-8\"\r\n") != std::string::npos);
  CHECK(refused.find("\r\nWWW-Authenticate: Bearer\r\n") != std::string::npos);
  const std::string shown =
      Peer(server.port()).http("GET / HTTP/1.1\r\n" + host + "Authorization: Basic bmFtZTphIGxvbmcgc2VjcmV0\r\n\r\n");
  CHECK(shown.starts_with("HTTP/1.1 200"));
  CHECK(shown.find("\r\nCross-Origin-Resource-Policy: same-origin\r\n") != std::string::npos);
}

TEST_CASE("websocket frames: each has its outcome") {
  serve::ServiceOptions options;
  options.network.max_message_bytes = 100000;
  FakeServer server({}, options);
  const std::string good = observation(1);
  struct Case {
    std::string bytes;
    std::vector<std::string> outcomes;
  };
  const auto control = [](int code, const std::string& reason = "") {
    return Peer::frame(0x88, std::string{static_cast<char>(code >> 8), static_cast<char>(code & 255)} + reason);
  };
  for (const auto& [bytes, outcomes] : std::vector<Case>{
           {Peer::frame(0x82, good), {"ok 1"}},
           {Peer::frame(0x02, good.substr(0, 9)) + Peer::frame(0x80, good.substr(9)), {"ok 1"}},
           {Peer::frame(0x02, "") + Peer::frame(0x00, good) + Peer::frame(0x80, ""), {"ok 1"}},
           {Peer::frame(0x02, good.substr(0, 9)) + Peer::frame(0x89, "p") + Peer::frame(0x80, good.substr(9)),
            {"opcode 10", "ok 1"}},
           {Peer::frame(0x8a, "nobody asked") + Peer::frame(0x82, good), {"ok 1"}},
           {Peer::frame(0x89, std::string(125, 'p')), {"opcode 10"}},
           // Not msgpack, or not a request.
           {Peer::frame(0x82, ""), {"malformed", "closed 1007"}},
           {Peer::frame(0x82, "\xc1"), {"malformed", "closed 1007"}},
           {Peer::frame(0x82, good + "x"), {"malformed", "closed 1007"}},
           {Peer::frame(0x82, good.substr(0, 40)), {"malformed", "closed 1007"}},
           {Peer::frame(0x82, std::string(100000, '\x91')), {"malformed", "closed 1007"}},
           {Peer::frame(0x82, "\xdd\xff\xff\xff\xff"), {"malformed", "closed 1007"}},
           {Peer::frame(0x82, good) + Peer::frame(0x82, "\xc1"), {"ok 1", "malformed", "closed 1007"}},
           {Peer::frame(0x82, "\x80"), {"bad_request"}},
           {Peer::frame(0x82, "\x90"), {"bad_request"}},
           {Peer::frame(0x82, "\x80") + Peer::frame(0x82, good), {"bad_request", "ok 1"}},
           {Peer::frame(0x81, "{}"), {"closed 1003"}},
           {Peer::frame(0x81, "\xff\xfe"), {"closed 1007"}},
           {Peer::frame(0x81, ""), {"closed 1003"}},
           // Frames that break the protocol.
           {Peer::frame(0x82, good, false), {"closed 1002"}},
           {Peer::frame(0xc2, good), {"closed 1002"}},
           {Peer::frame(0xa2, good), {"closed 1002"}},
           {Peer::frame(0x92, good), {"closed 1002"}},
           {Peer::frame(0x83, "x"), {"closed 1002"}},
           {Peer::frame(0x87, "x"), {"closed 1002"}},
           {Peer::frame(0x8b, "x"), {"closed 1002"}},
           {Peer::frame(0x8f, "x"), {"closed 1002"}},
           {Peer::frame(0x80, "x"), {"closed 1002"}},
           {Peer::frame(0x00, "x"), {"closed 1002"}},
           {Peer::frame(0x02, "x") + Peer::frame(0x82, "y"), {"closed 1002"}},
           {Peer::frame(0x02, "x") + Peer::frame(0x81, "y"), {"closed 1002"}},
           {Peer::frame(0x09, "x"), {"closed 1002"}},
           {Peer::frame(0x08, ""), {"closed 1002"}},
           {Peer::frame(0x89, std::string(126, 'p')), {"closed 1002"}},
           {"\x82\xfe\x00\x05"s + "\0\0\0\0hello"s, {"closed 1002"}},                          // 5 in two bytes
           {"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x05"s + "\0\0\0\0hello"s, {"closed 1002"}},  // 5 in eight
           {"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00"s + "\0\0\0\0"s, {"closed 1009"}},
           {"\x82\xff\x00\x00\x00\x00\x7f\xff\xff\xff"s + "\0\0\0\0"s, {"closed 1009"}},
           {Peer::frame(0x82, std::string(100001, 'x')).substr(0, 14), {"closed 1009"}},
           {Peer::frame(0x02, std::string(60000, 'x')) + Peer::frame(0x80, std::string(60000, 'x')), {"closed 1009"}},
           // Closing.
           {Peer::frame(0x88, ""), {"closed 1000"}},
           {control(1000), {"closed 1000"}},
           {control(1001, "bye"), {"closed 1001"}},
           {control(3000), {"closed 3000"}},
           {Peer::frame(0x88, "\x03"), {"closed 1002"}},
           {control(1005), {"closed 1002"}},
           {control(1006), {"closed 1002"}},
           {control(999), {"closed 1002"}},
           {control(1000, "\xff\xfe"), {"closed 1002"}},
       }) {
    CAPTURE(bytes.substr(0, 20));
    CAPTURE(outcomes.front());
    Robot robot(server);
    robot.send(bytes);
    for (const std::string& expected : outcomes) CHECK(outcome(robot.receive()) == expected);
  }
  Robot robot(server);
  robot.send_binary(good);
  CHECK(outcome(robot.receive()) == "ok 1");
}

TEST_CASE("a peer that breaks the protocol while its session is closed is let go at once") {
  FakeServer server;
  Robot robot(server);
  robot.send(Peer::frame(0x81, "{}") + std::string(2, '\0'));
  CHECK(outcome(robot.receive()) == "closed 1003");
  CHECK(eventually([&] { return server.get("/status").find("\"sessions\":[]") != std::string::npos; }));
}

TEST_CASE("connections of one address are bounded") {
  serve::ServiceOptions options;
  options.network.max_connections_per_address = 2;
  FakeServer server({}, options);
  {
    Robot first(server), second(server);
    CHECK(Peer(server.port()).handshake().substr(9, 3) == "503");
    first.send_binary(observation(1));
    CHECK(outcome(first.receive()) == "ok 1");
  }
  std::string again;
  for (int i = 0; i < 200 && again != "101"; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    again = Peer(server.port()).handshake().substr(9, 3);
  }
  CHECK(again == "101");
}

TEST_CASE("connections in all are bounded: one more is told so, and none that is open suffers") {
  CHECK(serve::NetworkOptions().max_connections == 256);
  CHECK(serve::NetworkOptions().max_connections_per_address == 32);
  serve::ServiceOptions options;
  options.network.max_connections = 3;
  FakeServer server({}, options);
  // Tried again while a connection of before still has a place.
  const auto opened = [&] {
    std::unique_ptr<Peer> peer;
    CHECK(eventually([&] {
      peer = std::make_unique<Peer>(server.port());
      return peer->handshake().starts_with("HTTP/1.1 101") && peer->receive().opcode == 2;
    }));
    return peer;
  };
  const auto first = opened(), second = opened();
  auto third = opened();
  const double before = server.metric("nervus_connections_total", "outcome=\"refused\"");
  for (const std::string& refused : {Peer(server.port()).handshake(), Peer(server.port()).http("")}) {
    CHECK(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    CHECK(refused.find("\r\nRetry-After: 1\r\n") != std::string::npos);
    CHECK(refused.find("\r\nConnection: close\r\n") != std::string::npos);
    CHECK(refused.ends_with("\r\n\r\ntoo many connections; try again later\n"));
  }
  CHECK(server.metric("nervus_connections_total", "outcome=\"refused\"") == before + 2);
  third.reset();
  third = opened();
  for (const auto& robot : {first.get(), second.get(), third.get()}) {
    robot->send_binary(observation(1));
    CHECK(outcome(robot->receive()) == "ok 1");
  }
}

TEST_CASE("compression is offered in vain: the session is opened without it") {
  FakeServer server;
  for (const char* offer :
       {"permessage-deflate", "permessage-deflate; client_max_window_bits; server_no_context_takeover",
        "x-webkit-deflate-frame", "permessage-deflate; nonsense, permessage-deflate"}) {
    CAPTURE(offer);
    Peer robot(server.port());
    const std::string response = robot.handshake("Sec-WebSocket-Extensions: " + std::string(offer) + "\r\n");
    CHECK(response.starts_with("HTTP/1.1 101"));
    CHECK(response.find("Sec-WebSocket-Extensions") == std::string::npos);
    CHECK(serve::MsgpackDocument::read(robot.receive().payload).root().kind() == serve::MsgpackKind::map);
    robot.send_binary(observation(1));
    CHECK(outcome(robot.receive()) == "ok 1");
    robot.send(Peer::frame(0xc2, observation(2)));  // as if it were compressed
    CHECK(outcome(robot.receive()) == "closed 1002");
  }
}

TEST_CASE("an address that cannot be listened on is named") {
  FakeServer server;
  serve::ServiceOptions options;
  options.network.port = server.port();
  std::vector<std::unique_ptr<serve::Replica>> replicas;
  replicas.push_back(std::make_unique<FakeReplica>(FakePolicy{}));
  try {
    serve::Service second(std::move(replicas), options);
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::io);
    CHECK(std::string(error.what()).find(std::to_string(server.port())) != std::string::npos);
  }
}

TEST_CASE("the page and its parts: their types, and a policy that keeps the browser here") {
  FakeServer server;
  for (const auto& [path, type] : std::vector<std::pair<std::string, std::string>>{
           {"/", "text/html; charset=utf-8"},
           {"/page.css", "text/css; charset=utf-8"},
           {"/page.js", "text/javascript; charset=utf-8"},
           {"/status", "application/json"},
           {"/metrics", "text/plain; version=0.0.4; charset=utf-8"},
       }) {
    const std::string response = Peer(server.port()).http("GET " + path + " HTTP/1.1\r\n" + host + "\r\n");
    CHECK(response.starts_with("HTTP/1.1 200"));
    CHECK(response.find("Content-Type: " + type + "\r\n") != std::string::npos);
    CHECK(response.find("Content-Security-Policy: default-src 'none'; script-src 'self'; ") != std::string::npos);
    CHECK(response.find("X-Content-Type-Options: nosniff\r\n") != std::string::npos);
  }
  for (const char* path : {"/page.html", "/camera/", "/camera/cam_high", "/camera/../status", "/page.js/"})
    CHECK(server.get(path).starts_with("404 "));
}

TEST_CASE("cameras are shown as the model sees them, once somebody looks") {
  FakeServer server;
  Robot robot(server);
  robot.send_binary(observation(1));
  CHECK(outcome(robot.receive()) == "ok 1");
  CHECK(server.get("/camera/cam_high").starts_with("404 "));
  CHECK(server.get("/status").find("\"cameras\":[]") != std::string::npos);
  robot.send_binary(observation(2));
  CHECK(outcome(robot.receive()) == "ok 2");
  REQUIRE(eventually([&] { return server.get("/camera/cam_high").starts_with("200 BM"); }));
  CHECK(server.get("/status").find("\"cameras\":[{\"name\":\"cam_high\",\"frame\":1}]") != std::string::npos);
  const std::string bmp = server.get("/camera/cam_high").substr(4);
  CHECK(bmp.size() == 54 + 16 * 16 * 3);
  CHECK(bmp.substr(54, 6) == "cbacba");  // blue, green, red of the frame "abc"
  CHECK(server.get("/camera/cam_left_wrist").starts_with("404 "));
}
