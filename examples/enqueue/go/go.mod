module enqueue

go 1.22
