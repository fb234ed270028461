/* The arguments of gearman_execute(). */

struct gearman_argument_t {
  gearman_string_t name;
  gearman_string_t value;
};

gearman_argument_t gearman_argument_make(
    const char *name, const size_t name_length, const char *value,
    const size_t value_size);
