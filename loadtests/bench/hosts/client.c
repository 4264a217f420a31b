/* The clients of `make bench-hosts`: in each room one who publishes, at one address, and one who only listens, at
 * another.
 *
 * Rules. One thread on epoll. Both are members: each message has to come to both, once and in order. It counts, with
 * the time since it was sent, when the listener has it. The first mistake, of a server or of a socket, ends the
 * program with a line on stderr.
 *
 * Connects and says "ready"; for each line on stdin, a number of seconds, works that long, waits for what is on its way,
 * and prints one line of JSON; at the end of stdin closes every connection in order and leaves. Server pings are
 * answered all the time.
 *
 *   client FROM-ADDRESS FROM-PORT TO-ADDRESS TO-PORT [--rooms N] [--in-flight K] [--rate R]
 *
 * --in-flight  messages of a room that its listener may lack
 * --rate       messages that are sent in a second, in all rooms together, if what is in flight allows it. Without it
 *              each room's next one is sent when its listener has one
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, BUFFER = 16 << 10, EVENTS = 256, TICK_MS = 1, AGAIN_MS = 500, AT_ONCE = 16 };
enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10, HEADER = 2, MASK = 4 };
static const uint64_t PATIENCE_NS = UINT64_C(30000000000);

/* The key of RFC 6455's example, and the answer that it must get. */
static const char REQUEST[] =
    "GET /rooms/bench-%d HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

struct connection {
    int fd, room;
    bool publishes, joined;
    enum { UPGRADING, OPEN, CLOSING, GONE } state;
    uint64_t next; /* the message that must come now, once it has joined */
    size_t have;
    unsigned char data[BUFFER];
};

static struct options {
    struct sockaddr_in from, to;
    int rooms, in_flight;
    double rate;
} options = {.rooms = 1, .in_flight = 1};

static int poller, open_now;
static struct connection *publishers, *listeners;
static uint64_t *sent; /* of each room */
static bool measuring, stopping;
static uint64_t done, received;
static uint64_t *latencies;
static size_t latency_room;

static void fail(const char *format, ...) {
    va_list words;
    va_start(words, format);
    vfprintf(stderr, format, words);
    va_end(words);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* ---- sending ---- */

static void put(struct connection *self, unsigned opcode, const unsigned char *payload, size_t size) {
    static const unsigned char mask[MASK] = {0x5a, 0xc3, 0x96, 0x3c};
    unsigned char frame[HEADER + MASK + 125] = {(unsigned char)(0x80 | opcode), (unsigned char)(0x80 | size)};
    memcpy(frame + HEADER, mask, MASK);
    for (size_t index = 0; index < size; index++)
        frame[HEADER + MASK + index] = payload[index] ^ mask[index % MASK];
    size += HEADER + MASK;
    /* Little is in flight: a socket that does not take it belongs to a server that does not read. */
    if (send(self->fd, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size) fail("send: %m");
}

static void publish(int room) {
    char text[SIZE + 1];
    int size = snprintf(text, sizeof text, "%05d %012lu %020lu ", room, sent[room]++, now(CLOCK_MONOTONIC));
    memset(text + size, '.', (size_t)(SIZE - size));
    put(&publishers[room], TEXT, (unsigned char *)text, SIZE);
}

static bool has_place(int room) {
    return sent[room] - listeners[room].next < (uint64_t)options.in_flight;
}

/* ---- receiving ---- */

static void note_latency(uint64_t time) {
    if (done == latency_room) {
        latency_room = latency_room ? 2 * latency_room : 1 << 16;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
        if (!latencies) fail("no memory");
    }
    latencies[done++] = time;
}

static void take_message(struct connection *self, const unsigned char *payload, size_t size, uint64_t time) {
    char text[SIZE + 1] = "";
    unsigned long number, at;
    int room;
    if (size != SIZE) fail("a message of %zu bytes", size);
    memcpy(text, payload, size);
    if (sscanf(text, "%d %lu %lu ", &room, &number, &at) != 3 || room != self->room)
        fail("room %d: what came is no message of it: %s", self->room, text);
    /* A server may answer a handshake before the member has joined. */
    if (self->joined ? number != self->next : number >= sent[room])
        fail("room %d, the one who %s: message %lu came in the place of %lu", room,
             self->publishes ? "publishes" : "listens", number, self->next);
    self->joined = true;
    self->next = number + 1;
    received++;
    if (self->publishes || !measuring) return;
    note_latency(time - at);
    if (options.rate == 0 && !stopping) publish(room);
}

static void take_frame(struct connection *self, unsigned first, const unsigned char *payload, size_t size, uint64_t time) {
    if (first == (0x80 | TEXT)) {
        take_message(self, payload, size, time);
    } else if (first == (0x80 | PING)) {
        put(self, PONG, payload, size);
    } else if (first == (0x80 | CLOSE)) {
        if (self->state != CLOSING) fail("closed by the server with code %u", size < 2 ? 1005u : (unsigned)payload[0] << 8 | payload[1]);
    } else {
        fail("a frame that begins with %#x", first);
    }
}

/* Returns how many bytes belonged to the response head; 0: it is not whole. */
static size_t take_head(struct connection *self) {
    unsigned char *end = memmem(self->data, self->have, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = 0;
    if (strncmp((char *)self->data, "HTTP/1.1 101 ", 13) != 0 || !strstr((char *)self->data, ACCEPT))
        fail("the handshake was answered with:\n%s", self->data);
    self->state = OPEN;
    open_now++;
    return (size_t)(end + 4 - self->data);
}

static void readable(struct connection *self) {
    ssize_t count = recv(self->fd, self->data + self->have, BUFFER - self->have, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
        if (self->state != CLOSING) fail("room %d: the server ended the connection: %m", self->room);
        close(self->fd);
        self->state = GONE;
        open_now--;
        return;
    }
    self->have += (size_t)count;
    uint64_t time = now(CLOCK_MONOTONIC);
    size_t used = self->state == UPGRADING ? take_head(self) : 0;
    while (self->state != UPGRADING && self->have - used >= HEADER) {
        unsigned char *frame = self->data + used;
        if (frame[1] > 125) fail("a frame that is masked, or longer than any");
        if (self->have - used < (size_t)HEADER + frame[1]) break;
        take_frame(self, frame[0], frame + HEADER, frame[1], time);
        used += (size_t)HEADER + frame[1];
    }
    self->have -= used;
    memmove(self->data, self->data + used, self->have);
}

/* One wait and its events; true when stdin has a line or its end. */
static bool step(int milliseconds) {
    struct epoll_event events[EVENTS];
    bool told = false;
    int count = epoll_wait(poller, events, EVENTS, milliseconds);
    if (count < 0 && errno != EINTR) fail("epoll_wait: %m");
    for (int index = 0; index < count; index++)
        if (events[index].data.ptr) readable(events[index].data.ptr);
        else told = true;
    return told;
}

/* ---- the run ---- */

static void start(struct connection *self, int room, bool publishes) {
    const struct sockaddr_in *address = publishes ? &options.from : &options.to;
    int on = 1;
    self->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    self->room = room;
    self->publishes = publishes;
    if (self->fd < 0 || connect(self->fd, (const struct sockaddr *)address, sizeof *address)) fail("connect: %m");
    setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    char request[sizeof REQUEST + 16];
    int size = snprintf(request, sizeof request, REQUEST, room);
    if (send(self->fd, request, (size_t)size, 0) != size) fail("send: %m");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = self};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, self->fd, &event)) fail("epoll_ctl: %m");
}

static void wait_until_open(int wanted) {
    uint64_t end = now(CLOCK_MONOTONIC) + PATIENCE_NS;
    while (open_now < wanted) {
        step(TICK_MS);
        if (now(CLOCK_MONOTONIC) > end) fail("%d of %d handshakes were answered", open_now, wanted);
    }
}

static void connect_all(void) {
    for (int index = 0; index < 2 * options.rooms; index++) {
        int room = index / 2;
        start(index % 2 ? &publishers[room] : &listeners[room], room, index % 2);
        wait_until_open(index + 1 - AT_ONCE);
    }
    wait_until_open(2 * options.rooms);
}

static bool is_behind(int room) {
    return listeners[room].next < sent[room] || publishers[room].next < sent[room];
}

static int behind(void) {
    int count = 0;
    for (int room = 0; room < options.rooms; room++) count += is_behind(room);
    return count;
}

/* Publishes until all members get what is published: again whenever nothing came for a while. */
static void gather(void) {
    uint64_t end = now(CLOCK_MONOTONIC) + PATIENCE_NS;
    do {
        for (int room = 0; room < options.rooms; room++)
            if (!sent[room] || is_behind(room)) publish(room);
        for (uint64_t seen = UINT64_MAX; behind() && seen != received; step(AGAIN_MS)) seen = received;
        if (now(CLOCK_MONOTONIC) > end) fail("in %d rooms messages do not come", behind());
    } while (behind());
}

/* Sends what is due; what finds no place is not sent later. */
static void send_due(uint64_t begin, uint64_t *offered) {
    static int turn;
    uint64_t due = (uint64_t)(options.rate * (double)(now(CLOCK_MONOTONIC) - begin) / 1e9);
    for (; *offered < due; ++*offered) {
        for (int tried = 0; tried < options.rooms; tried++) {
            turn = (turn + 1) % options.rooms;
            if (has_place(turn)) {
                publish(turn);
                break;
            }
        }
    }
}

static void work(uint64_t begin, uint64_t end) {
    uint64_t offered = 0;
    measuring = true;
    stopping = false;
    if (options.rate == 0)
        for (int count = 0; count < options.rooms * options.in_flight; count++) publish(count % options.rooms);
    for (uint64_t time; (time = now(CLOCK_MONOTONIC)) < end;) {
        if (options.rate > 0) send_due(begin, &offered);
        step(TICK_MS);
    }
    stopping = true;
    for (uint64_t last = now(CLOCK_MONOTONIC) + PATIENCE_NS; behind(); step(TICK_MS))
        if (now(CLOCK_MONOTONIC) > last) fail("in %d rooms messages do not come", behind());
    measuring = false;
}

static int compare(const void *one, const void *other) {
    uint64_t left = *(const uint64_t *)one, right = *(const uint64_t *)other;
    return (left > right) - (left < right);
}

static double percentile_us(double part) {
    return done ? (double)latencies[(size_t)((double)(done - 1) * part)] / 1e3 : 0;
}

static void run(double seconds) {
    uint64_t begin = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    done = 0;
    work(begin, begin + (uint64_t)(seconds * 1e9));
    seconds = (double)(now(CLOCK_MONOTONIC) - begin) / 1e9;
    double cpu_us = (double)(now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e3;
    if (done) qsort(latencies, done, sizeof *latencies, compare);
    printf("{\"done\": %lu, \"seconds\": %.6f, \"client_cpu_us\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"wire_bytes\": %d}\n", done, seconds, done ? cpu_us / (double)done : 0, percentile_us(0.50),
           percentile_us(0.99), SIZE);
    fflush(stdout);
}

/* Returns the seconds of the next run; 0 at the end of stdin. */
static double wait_for_caller(void) {
    char line[64] = "";
    while (!step(-1)) {}
    if (read(STDIN_FILENO, line, sizeof line - 1) < 0) fail("stdin: %m");
    return atof(line);
}

static void close_all(void) {
    static const unsigned char normal[] = {1000 >> 8, 1000 & 255};
    uint64_t end = now(CLOCK_MONOTONIC) + PATIENCE_NS;
    for (int index = 0; index < 2 * options.rooms; index++) {
        struct connection *self = index % 2 ? &publishers[index / 2] : &listeners[index / 2];
        self->state = CLOSING;
        put(self, CLOSE, normal, sizeof normal);
    }
    while (open_now && now(CLOCK_MONOTONIC) < end) step(TICK_MS);
}

static struct sockaddr_in address_of(const char *host, const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) fail("no address: %s", host);
    return address;
}

static void parse(int count, char **words) {
    static const struct option names[] = {
        {"rooms", 1, 0, 'n'}, {"in-flight", 1, 0, 'k'}, {"rate", 1, 0, 'r'}, {0}};
    for (int option; (option = getopt_long(count, words, "", names, NULL)) != -1;) switch (option) {
        case 'n': options.rooms = atoi(optarg); break;
        case 'k': options.in_flight = atoi(optarg); break;
        case 'r': options.rate = atof(optarg); break;
        default: exit(64);
    }
    if (optind != count - 4) fail("two addresses and their ports are needed");
    if (options.rooms < 1 || options.in_flight < 1 || options.rate < 0) fail("numbers must be positive");
    options.from = address_of(words[optind], words[optind + 1]);
    options.to = address_of(words[optind + 2], words[optind + 3]);
}

int main(int count, char **words) {
    parse(count, words);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    publishers = calloc((size_t)options.rooms, sizeof *publishers);
    listeners = calloc((size_t)options.rooms, sizeof *listeners);
    sent = calloc((size_t)options.rooms, sizeof *sent);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!publishers || !listeners || !sent || poller < 0) fail("no memory, or no epoll: %m");
    connect_all();
    gather();
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event)) fail("stdin: %m");
    puts("ready");
    fflush(stdout);
    for (double seconds; (seconds = wait_for_caller()) > 0;) run(seconds);
    close_all();
    return 0;
}
