/* Prints sizes, offsets and numbers of the system's <linux/kvm.h>. In C, because in C++ the flexible arrays of some of its
 * versions start a word too late. */
#include <linux/kvm.h>
#include <stddef.h>
#include <stdio.h>

#define SIZE(type) printf("sizeof(%s) %zu\n", #type, sizeof(struct type));
#define FIELD(type, field) printf("%s.%s %zu\n", #type, #field, offsetof(struct type, field));
#define NUMBER(ours, theirs) printf("%s %lu\n", #theirs, (unsigned long)(theirs));

int main(void) {
#include "layout_list.inc"
  return 0;
}
