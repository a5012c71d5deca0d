/* The limit that servers are measured against: a loop over send(2).
 *
 *     send FRAME_IN_HEX
 *
 * prints "listening 127.0.0.1:PORT", accepts whoever connects, and at each line
 * "publish K" on its standard input sends K copies of the frame, in one call, to
 * every connection. It ends with its standard input. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CONNS = 1 << 16, MAX_BATCH = 1 << 20 };

static int conns[MAX_CONNS];
static int count;

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static int listen_on_loopback(void) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 4096) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		fail("listen");
	printf("listening 127.0.0.1:%d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static void take_arrivals(int listener) {
	int one = 1, fd;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (count == MAX_CONNS) {
			fprintf(stderr, "more than %d connections\n", MAX_CONNS);
			exit(1);
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		conns[count++] = fd;
	}
}

static void send_all(const char *bytes, size_t size) {
	for (int i = 0; i < count; i++)
		if (send(conns[i], bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
			fail("send"); /* the closed loop leaves room in every socket */
}

static size_t from_hex(const char *text, char *bytes, size_t room) {
	size_t n = strlen(text) / 2;
	unsigned byte;
	for (size_t i = 0; i < n && i < room; i++) {
		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return 0;
		bytes[i] = (char)byte;
	}
	return n < room ? n : 0;
}

int main(int argc, char **argv) {
	static char batch[MAX_BATCH], line[64];
	size_t size = argc == 2 ? from_hex(argv[1], batch, 1 << 12) : 0;
	if (size == 0) {
		fprintf(stderr, "usage: send FRAME_IN_HEX\n");
		return 2;
	}
	int filled = 1, listener = listen_on_loopback();
	struct pollfd ready[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
	for (;;) {
		if (poll(ready, 2, -1) < 0)
			fail("poll");
		take_arrivals(listener);
		if (!ready[0].revents)
			continue;
		/* One command at a time: the next is only given when this one's bytes arrived. */
		ssize_t n = read(STDIN_FILENO, line, sizeof line - 1);
		if (n <= 0)
			return 0;
		line[n] = 0;
		int k = 0;
		if (sscanf(line, "publish %d", &k) != 1 || k < 1 || (size_t)k * size > sizeof batch) {
			fprintf(stderr, "not a command: %s\n", line);
			return 2;
		}
		for (; filled < k; filled++)
			memcpy(batch + filled * size, batch, size);
		send_all(batch, k * size);
	}
}
