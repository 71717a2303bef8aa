/*
 * Chance and time, decided by a seed.
 *
 * A run must be the same twice. What would make it differ are random bytes (keys of hash maps, the order in which tokio's select! polls,
 * jitter, session ids) and the machine's clock (caches look at it to decide when to tidy up). Both come from the C library, so this
 * takes its place for getrandom and clock_gettime, but only in threads named "sim-SEED": all others get what the kernel says.
 *
 * State is per thread, so that what other threads do changes nothing. Each look at the clock moves it a microsecond.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static __thread int asked, simulated;
static __thread uint64_t chance, looks;

static int is_simulated(void) {
  if (!asked) {
    char name[32] = "";
    asked = 1;
    if (pthread_getname_np(pthread_self(), name, sizeof name) == 0 && strncmp(name, "sim-", 4) == 0) {
      simulated = 1;
      chance = strtoull(name + 4, NULL, 10);
    }
  }
  return simulated;
}

/* splitmix64 */
static uint64_t next(void) {
  uint64_t z = chance += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
  if (!is_simulated()) return syscall(SYS_getrandom, buffer, length, flags);
  for (size_t at = 0; at < length; at += 8) {
    uint64_t word = next();
    memcpy((char *)buffer + at, &word, length - at < 8 ? length - at : 8);
  }
  return (ssize_t)length;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (!is_simulated()) return (int)syscall(SYS_clock_gettime, clock, now);
  looks += 1;
  now->tv_sec = 1800000000 + (time_t)(looks / 1000000);
  now->tv_nsec = (long)(looks % 1000000) * 1000;
  return 0;
}
