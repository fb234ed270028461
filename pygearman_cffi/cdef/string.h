/* A pointer and a size; not owned by whoever holds it. */

struct gearman_string_t {
  const char *c_str;
  size_t size;
};

